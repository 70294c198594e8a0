"""A TFLite file: as the integer graph where it becomes one, otherwise operator by operator as the file has them.

A file that is not an integer graph keeps its own operators, types and scales, and the reason is a note. Operators that
no counting rule covers are listed without MACs. The graphs that operators of the main one run follow it, each once.
Refuses files that do not parse.
"""

from __future__ import annotations

from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.runtime.bounded_files import read_model
from tinyscene.runtime.tflite_options import Conv2DOptions, DepthwiseConv2DOptions, Pool2DOptions

from ..check.count_tflite import TfliteLayers, notes_on, tflite_graphs, tflite_layers
from ..errors import ExportError
from ..formats.tflite_file import Operator
from ..formats.tflite_read import from_tflite
from .file_graph import file_listing, no_graph_note
from .records import Listing, NodeRow, TensorRow, costs_of, finite, weight_scales

_ACTIVATIONS = {code: name.lower() for name, code in vars(schema.ActivationFunctionType).items() if name[0] != "_"}
_WITH_WEIGHT = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def tflite_listing(path: Path, cpu: str, optimise: Optimise) -> Listing:
    """The operations of a file.

    Raises:
        TinysceneError: unreadable.
    """
    data = read_model(path)
    try:
        graph = from_tflite(data, where=str(path), name=path.stem)
    except ExportError as problem:
        return _operators(data, path, problem)
    return file_listing(graph, "TFLite", lambda: tflite_layers(data, path), cpu, optimise)


def _operators(data: bytes, path: Path, reason: ExportError) -> Listing:
    graphs = tflite_graphs(data, str(path))
    nodes = [(graph, op) for graph in graphs for op in graph.layers if op.outputs]
    types = {graph.type(op.output) for graph, op in nodes}
    kind = "float TFLite file" if types <= {"float32", "int32", "int64", "bool"} else "TFLite file"
    main = graphs[0]
    ends = [tuple(_tensor(main, i) for i in side) for side in (main.inputs, main.outputs)]
    rows = tuple(_row(graph, number, op) for number, (graph, op) in enumerate(nodes, start=1))
    note = "not an integer graph" if kind.startswith("float") else no_graph_note(reason, path)
    return Listing(f"{kind}, operator by operator", ends[0], ends[1], rows, notes=(note, *_graph_notes(graphs)))


def _graph_notes(graphs: list[TfliteLayers]) -> tuple[str, ...]:
    kinds = [op.kind for graph in graphs for op in graph.layers if not op.outputs]
    listed = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    left_out = (f"operators without an output are left out: {listed}",) if kinds else ()
    return (*notes_on(graphs), *left_out)


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
