"""Reads any model that tinyscene takes, as one record: bundle folder, TFLite, ONNX, checkpoint.

Refuses what is none of these, and what the reader of its kind refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tinyscene.firmware_harness.emit.schedule import SHIPPED, Optimise
from tinyscene.runtime.bounded_files import require_file

from ..errors import ExportError
from ..formats.model_kind import EXPECTED, ModelKind, model_kind
from .records import Inspection, Listing


def inspect_model(path: Path, cpu: str = "dsp", optimise: Optimise = SHIPPED) -> Inspection:
    """The model behind a path.

    Args:
        cpu: kernel set for the calls of an integer graph: ``c99``, ``dsp`` or ``mve``.
        optimise: how its nodes are combined into calls.

    Raises:
        TinysceneError: missing, of another kind, damaged; unknown kernel set.
    """
    readers: dict[ModelKind, Callable[[], Listing]] = {
        "bundle": lambda: _bundle(path, cpu, optimise),
        "tflite": lambda: _tflite(path, cpu, optimise),
        "onnx": lambda: _onnx(path, cpu, optimise),
        "checkpoint": lambda: _checkpoint(path),
    }
    kind = model_kind(path)
    if kind is None:
        require_file(path, EXPECTED)
        raise ExportError(
            str(path), "not a kind of model that can be read", expected=EXPECTED, next_step="check the path"
        )
    return readers[kind]().record(str(path))


def _bundle(path: Path, cpu: str, optimise: Optimise) -> Listing:
    from tinyscene.runtime.bundle import read_bundle

    from .checkpoint_listing import front_end_row
    from .graph_listing import graph_listing

    bundle = read_bundle(path)
    listing = graph_listing(bundle.graph, "bundle, integer graph", cpu, optimise)
    row = None if bundle.frontend is None else front_end_row(bundle.frontend)
    return replace(listing, labels=bundle.graph.labels, front_end=row)


def _tflite(path: Path, cpu: str, optimise: Optimise) -> Listing:
    from .tflite_listing import tflite_listing

    return tflite_listing(path, cpu, optimise)


def _onnx(path: Path, cpu: str, optimise: Optimise) -> Listing:
    from .onnx_listing import onnx_listing

    return onnx_listing(path, cpu, optimise)


def _checkpoint(path: Path) -> Listing:
    from .checkpoint_listing import checkpoint_listing

    return checkpoint_listing(path)
