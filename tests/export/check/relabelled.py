"""Bundles that differ only in their labels and metrics, so that a test can choose their accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinyscene.runtime.bundle import Bundle, BundleContent, write_bundle
from tinyscene.runtime.file_names import ONNX_MODEL, TFLITE_MODEL
from tinyscene.runtime.manifest import Metrics, Provenance


def relabelled(path: Path, source: Bundle, labels: tuple[str, ...], metrics: Metrics) -> Path:
    """Write the network of another bundle with other labels; returns ``path``."""
    graph, tflite, onnx = replace(source.graph, labels=labels), source.file(TFLITE_MODEL), source.file(ONNX_MODEL)
    content = BundleContent(graph, source.frontend, tflite, onnx, source.golden())
    write_bundle(path, content, Provenance("noise", {}, metrics))
    return path
