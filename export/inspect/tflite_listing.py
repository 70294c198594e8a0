"""A TFLite file: as the integer graph where it becomes one, otherwise operator by operator as the file has them.

A file that is not an integer graph keeps its own operators, types and scales, and the reason is a note. Operators that
no counting rule covers are listed without MACs. Refuses files that do not parse or that hold several graphs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.runtime.bounded_files import read_model
from tinyscene.runtime.cost import count
from tinyscene.runtime.tflite_options import Conv2DOptions, DepthwiseConv2DOptions, Pool2DOptions
from tinyscene.runtime.without_constants import without_constants

from ..check.count_tflite import TfliteLayers, tflite_layers
from ..errors import ExportError
from ..formats.tflite_file import Operator
from ..formats.tflite_read import from_tflite
from .graph_listing import graph_listing
from .records import RULE, Listing, NodeRow, TensorRow, costs_of, finite, weight_scales

_ACTIVATIONS = {code: name.lower() for name, code in vars(schema.ActivationFunctionType).items() if name[0] != "_"}
_WITH_WEIGHT = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def tflite_listing(path: Path, cpu: str, optimise: Optimise) -> Listing:
    """The operations of a file.

    Raises:
        TinysceneError: unreadable, or several graphs.
    """
    data = read_model(path)
    try:
        graph = from_tflite(data, where=str(path), name=path.stem)
    except ExportError as problem:
        return _operators(data, path, problem)
    listing = graph_listing(graph, "int8 TFLite file, as an integer graph", cpu, optimise)
    note = _differing_count(data, path, sum(node.macs or 0 for node in listing.nodes))
    constant = without_constants(graph).notes()
    return replace(listing, notes=(*listing.notes, *note, *constant))


def _differing_count(data: bytes, path: Path, graph_macs: int) -> tuple[str, ...]:
    """A note where operators were replaced by others of a different cost."""
    try:
        file_macs = count(tflite_layers(data, path), RULE, source="").macs
    except ExportError as problem:
        return (f"the operators of the file are not counted: {problem}",)
    if file_macs == graph_macs:
        return ()
    return (f"the file's own operators have {file_macs:,} MACs; the graph replaces some by others of the op set",)


def _operators(data: bytes, path: Path, reason: ExportError) -> Listing:
    file = TfliteLayers(data, str(path))
    nodes = [op for op in file.operators if op.outputs and not file.unpacks(op)]
    types = {file.type(op.output) for op in nodes}
    kind = "float TFLite file" if types <= {"float32", "int32", "int64", "bool"} else "TFLite file"
    ends = [tuple(_tensor(file, i) for i in side) for side in (file.inputs, file.outputs)]
    rows = tuple(_row(file, number, op) for number, op in enumerate(nodes, start=1))
    note = "not an integer graph" if kind.startswith("float") else f"not an integer graph: {_reason(reason, path)}"
    return Listing(f"{kind}, operator by operator", ends[0], ends[1], rows, notes=(note,))


def _reason(problem: ExportError, path: Path) -> str:
    """Why the file does not become a graph, without its name and without advice, which is for other commands."""
    where = problem.where.removeprefix(str(path)).strip(", ")
    return " ".join(
        f"{where}{': ' if where else ''}{problem.what}{f'; got {problem.got}' if problem.got else ''}".split()
    )


def _row(file: TfliteLayers, number: int, operator: Operator) -> NodeRow:
    costs = costs_of(lambda: file.layer(operator), lambda: file.named(operator))
    window, stride = _window(file, operator)
    weight = operator.inputs[1] if operator.kind in _WITH_WEIGHT and len(operator.inputs) > 1 else -1
    scales = file.scales(weight) if weight >= 0 else None
    return NodeRow(
        number,
        file.names[operator.output],
        operator.kind,
        tuple(dict.fromkeys(file.names[i] for i in operator.inputs if i >= 0 and not file.is_constant(i))),
        tuple(_tensor(file, i) for i in operator.outputs),
        window,
        stride,
        _activation(operator),
        None if scales is None else weight_scales(scales.tolist()),
        **vars(costs),
    )


def _tensor(file: TfliteLayers, index: int) -> TensorRow:
    scales = file.scales(index)
    scale = finite(float(scales[0])) if scales is not None and len(scales) == 1 else None
    quantization = file.tensor(index).quantization
    zero_points = [] if scale is None or quantization is None else quantization.zero_point.tolist()
    zero_point = zero_points[0] if zero_points else None
    return TensorRow(file.names[index], file.shape(index), file.type(index), scale, zero_point)


def _window(file: TfliteLayers, operator: Operator) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Window and stride of convolutions and pools."""
    options = operator.options
    if not isinstance(options, Conv2DOptions | DepthwiseConv2DOptions | Pool2DOptions):
        return None, None
    stride = options.stride_h, options.stride_w
    if isinstance(options, Pool2DOptions):
        return (options.filter_height, options.filter_width), stride
    shape = file.shape(operator.inputs[1]) if len(operator.inputs) > 1 else ()
    return ((shape[1], shape[2]) if len(shape) == 4 else None), stride


def _activation(operator: Operator) -> str:
    name = _ACTIVATIONS.get(getattr(operator.options, "fused_activation_function", 0), "none")
    return "" if name == "none" else name
