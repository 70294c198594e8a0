"""Bundles that differ only in their labels and metrics, so that a test can choose their accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinyscene.runtime.bundle import Bundle, write_bundle


def relabelled(path: Path, source: Bundle, labels: tuple[str, ...], metrics: dict[str, object]) -> Path:
    """Write the network of another bundle with other labels; returns ``path``."""
    write_bundle(
        path,
        graph=replace(source.graph, labels=()),
        frontend=source.frontend,
        labels=labels,
        tflite=source.file("model.tflite"),
        onnx=source.file("model.onnx"),
        golden=source.golden(),
        metrics=metrics,
        data="noise",
        tools={},
    )
    return path
