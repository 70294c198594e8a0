"""Read the layers of a network from a checkpoint, an ONNX or TFLite file, or a bundle, and count them by a rule.

A checkpoint is traced without fusing, so that BatchNorm is a layer; ONNX and TFLite files may be float or quantised and
may come from any converter; a bundle is counted as its integer graph, or as its TFLite file by the rules that apply to
files. Refuses files that cannot be read, and layers with parameters that no rule counts.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime.bounded_files import read_model
from tinyscene.runtime.bundle import read_bundle
from tinyscene.runtime.cost import Cost, Kind, Layer, Rule, count, graph_layers
from tinyscene.runtime.file_names import TFLITE_MODEL

from ..errors import ExportError
from ..formats.model_kind import EXPECTED, ModelKind, model_kind

if TYPE_CHECKING:
    from torch import fx, nn

_FILE_RULES: tuple[Rule, ...] = ("nessi", "stored")


def artefact_cost(path: Path, rule: Rule) -> Cost:
    """Cost of a checkpoint, ONNX or TFLite file or bundle by a rule.

    Raises:
        TinysceneError: the artefact is missing, of another kind, damaged, or has a layer without a counting rule.
    """
    kind = model_kind(path)
    if kind == "bundle":
        return _bundle_cost(path, rule)
    if kind is None or not path.is_file():
        what = "this kind of file cannot be counted" if path.exists() else "no such file or folder"
        raise ExportError(str(path), what, expected=EXPECTED, next_step="check the path")
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


def _checkpoint(path: Path) -> tuple[str, list[Layer]]:
    from tinyscene.training.models.checkpoint import load_any

    loaded = load_any(path)
    shape = (loaded.frontend.n_mels, loaded.frontend.n_frames)
    return f"checkpoint, unfused float32, input {shape[0]}x{shape[1]}", module_layers(loaded.model, shape)


def _onnx(path: Path) -> tuple[str, list[Layer]]:
    from .count_onnx import onnx_layers

    return "ONNX file", onnx_layers(read_model(path), path)


def _tflite(path: Path) -> tuple[str, list[Layer]]:
    from .count_tflite import tflite_layers

    data = read_model(path)
    return "; ".join(("TFLite file", *_constant_layers(data, path))), tflite_layers(data, path)


def _constant_layers(data: bytes, path: Path) -> tuple[str, ...]:
    """A note about constant layers, which are counted as the file has them; none where the file is no integer graph."""
    from tinyscene.runtime.constant_layers import constant_note

    from ..formats.tflite_model import tflite_model

    try:
        return constant_note(tflite_model(data, str(path)).constant_layers)
    except ExportError:
        return ()


_READERS: dict[ModelKind, Callable[[Path], tuple[str, list[Layer]]]] = {
    "checkpoint": _checkpoint,
    "onnx": _onnx,
    "tflite": _tflite,
}


def module_layers(model: nn.Module, input_shape: tuple[int, int]) -> list[Layer]:
    """Layers of a float network for one input (1, 1, *input_shape), including sums outside of modules.

    Raises:
        ExportError: a module with parameters has no counting rule.
    """
    traced = trace(model, input_shape)
    return [module_layer(traced, node) for node in traced.graph.nodes if is_layer(node)]


def trace(model: nn.Module, input_shape: tuple[int, int]) -> fx.GraphModule:
    """The network as a graph of its modules, in evaluation mode; each node has its output's shape for one input."""
    import torch
    from torch import fx
    from torch.fx.passes.shape_prop import ShapeProp

    from tinyscene.training.models.layers import LayerTracer

    model = model.eval()
    traced = fx.GraphModule(model, LayerTracer().trace(model))
    with torch.no_grad():
        ShapeProp(traced).propagate(torch.zeros(1, 1, *input_shape))
    return traced


def is_layer(node: fx.Node) -> bool:
    """Whether a traced node is a layer: a module or a sum, not a view."""
    return node.op == "call_module" or node.target in (operator.add, operator.iadd)


def module_layer(traced: fx.GraphModule, node: fx.Node) -> Layer:
    """One traced layer for the counting rules; raises ExportError if no rule counts it."""
    shape = tuple(node.meta["tensor_meta"].shape)
    sizes = {
        "output_elements": int(np.prod(shape)),
        "input_elements": int(np.prod(node.all_input_nodes[0].meta["tensor_meta"].shape)),
        "positions": int(np.prod(shape[2:])),
    }
    if node.op == "call_function":
        return Layer(node.name, "add", "add", shape, **sizes)
    module = traced.get_submodule(str(node.target))
    kind = _kind(module)
    parameters, buffers = list(module.parameters()), list(module.buffers())
    if kind == "other" and parameters:
        raise ExportError(f"network, '{node.target}'", f"{type(module).__name__} with parameters has no counting rule")
    return Layer(
        str(node.target),
        type(module).__name__,
        kind,
        shape,
        weights=parameters[0].numel() if parameters else 0,
        biases=sum(p.numel() for p in parameters[1:]),
        constant_bytes=sum(p.numel() * p.element_size() for p in parameters),
        extra_bytes=sum(b.numel() * b.element_size() for b in buffers),
        window=9 if kind == "pool" else 1,
        **sizes,
    )


def _kind(module: nn.Module) -> Kind:
    from torch import nn

    from tinyscene.training.models.layers import GRN, AvgPool3x3

    kinds: dict[type[nn.Module], Kind] = {
        nn.Conv2d: "conv",
        nn.Linear: "linear",
        nn.BatchNorm2d: "norm",
        GRN: "mul",
        AvgPool3x3: "pool",
        nn.AdaptiveAvgPool2d: "mean",
    }
    return next((kind for layer, kind in kinds.items() if isinstance(module, layer)), "other")
