"""Bundles that differ in their labels and metrics alone, so that accuracy is what a test wants it to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyscene.runtime.bundle import Bundle, write_bundle


def relabelled(path: Path, source: Bundle, labels: tuple[str, ...], metrics: dict[str, Any]) -> Path:
    """The network of another bundle under other labels; returns ``path``."""
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
