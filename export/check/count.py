"""Read the layers of a network from a checkpoint, an ONNX or TFLite file, or a bundle, and count them by a rule.

A checkpoint is counted without fusing, so that BatchNorm is a layer; ONNX and TFLite files may be float or quantised
and may come from any converter; a bundle is counted as its integer graph, or as its TFLite file by the rules that apply
to files. Refuses files that cannot be read, and layers with parameters that no rule counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tinyscene.runtime.bounded_files import read_model, require_file
from tinyscene.runtime.bundle import read_bundle
from tinyscene.runtime.cost import Cost, Layer, Rule, count, graph_layers
from tinyscene.runtime.file_names import TFLITE_MODEL

from ..errors import ExportError
from ..formats.model_kind import EXPECTED, ModelKind, model_kind

if TYPE_CHECKING:
    from torch import nn

_FILE_RULES: tuple[Rule, ...] = ("nessi", "stored")


def artefact_cost(path: Path, rule: Rule) -> Cost:
    """Cost of a checkpoint, ONNX or TFLite file or bundle by a rule.

    Raises:
        TinysceneError: the artefact is missing, of another kind, damaged, or has a layer without a counting rule.
    """
    kind = model_kind(path)
    if kind == "bundle":
        return _bundle_cost(path, rule)
    require_file(path, EXPECTED)
    if kind is None:
        raise ExportError(
            str(path), "this kind of file cannot be counted", expected=EXPECTED, next_step="check the path"
        )
    if kind == "checkpoint":
        return _checkpoint_cost(path, rule)
    source, layers = _READERS[kind](path)
    return count(layers, rule, source=source, file_bytes=path.stat().st_size)


def _bundle_cost(path: Path, rule: Rule) -> Cost:
    from .count_tflite import tflite_layers

    bundle = read_bundle(path)
    if rule not in _FILE_RULES:
        return count(graph_layers(bundle.graph), rule, source="bundle, integer graph with BatchNorm folded")
    data = bundle.file(TFLITE_MODEL)
    layers = tflite_layers(data, path / TFLITE_MODEL)
    return count(layers, rule, source="bundle, its model.tflite", file_bytes=len(data))


def _checkpoint_cost(path: Path, rule: Rule) -> Cost:
    from tinyscene.training.models.checkpoint import load_any

    loaded = load_any(path)
    shapes = list(loaded.input_shapes.values())
    source = f"checkpoint, unfused float32, input {shapes_text(shapes)}"
    cost = count(module_layers(loaded.model, *shapes), rule, source=source, file_bytes=path.stat().st_size)
    return replace(cost, notes=loaded.notes)


def _onnx(path: Path) -> tuple[str, list[Layer]]:
    from .count_onnx import onnx_layers

    return "ONNX file", onnx_layers(read_model(path), path)


def _tflite(path: Path) -> tuple[str, list[Layer]]:
    from .count_tflite import layers_of, notes_on, tflite_graphs

    data = read_model(path)
    graphs = tflite_graphs(data, str(path))
    return "; ".join(("TFLite file", *notes_on(graphs), *_constants(data, path))), layers_of(graphs)


def _constants(data: bytes, path: Path) -> tuple[str, ...]:
    """Notes about constant layers and channels, which are counted as the file has them; none where the file is no
    integer graph."""
    from ..formats.tflite_model import tflite_model

    try:
        return tflite_model(data, str(path)).reduced.notes()
    except ExportError:
        return ()


_READERS: dict[ModelKind, Callable[[Path], tuple[str, list[Layer]]]] = {
    "onnx": _onnx,
    "tflite": _tflite,
}


def shapes_text(shapes: Sequence[tuple[int, ...]]) -> str:
    """Shapes of inputs as words, such as 256x64 for a log-mel, which is (1, 256, 64)."""
    sizes = [shape[1:] if len(shape) == 3 and shape[0] == 1 else shape for shape in shapes]
    return " and ".join("x".join(map(str, each)) for each in sizes)


def module_layers(model: nn.Module, *input_shapes: tuple[int, ...]) -> list[Layer]:
    """Layers of a float network for inputs of these shapes, without the batch, unfused.

    Raises:
        ExportError: an operator with parameters has no counting rule. TrainingError: the network has no program.
    """
    from tinyscene.training.models.exported import program_network

    from .count_program import program_layers

    return [row.layer for row in program_layers(program_network(model, *input_shapes)).rows]
