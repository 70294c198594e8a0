"""Read an int8 ONNX file as the integer graph: quantised by ONNX Runtime, by PyTorch's export, or by similar tools.

Two forms are read: float operators between QuantizeLinear and DequantizeLinear (QDQ), and operators of codes
(QOperator). Nodes whose inputs are constant are folded. Refuses float networks, activations that are not quantised,
sizes that vary other than in the batch, and operators without a row in :data:`READERS`, by number and
name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx

from tinyscene.runtime import ops
from tinyscene.runtime.graph import MOST_ENDS, Graph, Quant, Tensor
from tinyscene.runtime.onnx_tensors import OnnxCodes

from ...errors import ExportError
from ..onnx_file import OnnxFile, read_onnx
from . import elementwise, functions, movement, pads, products, qoperator, quantised, reductions, resizes, windows
from .builder import OnnxGraphBuilder
from .folding import FOLDED, folded
from .values import NHWC, Codes, Constant, Order, Pending, Place, Places

Reader = Callable[[OnnxGraphBuilder], None]
READERS: dict[str, Reader] = {
    **quantised.ROWS,
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **functions.ROWS,
    **reductions.ROWS,
    **movement.ROWS,
    **pads.ROWS,
    **resizes.ROWS,
    **qoperator.ROWS,
}
SHAPE = "Shape"
WRITES_CODES = {"QuantizeLinear", *qoperator.ROWS}
KNOWN = READERS.keys() | FOLDED | {SHAPE}
DOMAINS = ("", "ai.onnx", "com.microsoft")
NEXT = "import it with 'tinyscene import', or quantise it, for example with ONNX Runtime's quantize_static"


def from_onnx(data: bytes, *, where: str = "ONNX file", name: str | None = None) -> Graph:
    """The checked graph of a file; its inputs and outputs have the file's names.

    Raises:
        ExportError: see the module's refusals; ``where`` names the file.
    """
    return graph_of(read_onnx(data, where), where, name)[0]


def graph_of(file: OnnxFile, where: str, name: str | None = None) -> tuple[Graph, Places]:
    """As :func:`from_onnx`, for an open file, with the places of the graph's activations in it."""
    graph = file.graph
    names = frozenset(each for node in graph.node for each in (*node.input, *node.output))
    b = OnnxGraphBuilder(where, file.opset, names)
    b.values |= {key: Constant(values) for key, values in file.constants.items()}
    _require_readable(b, graph)
    sources = _inputs(b, file)
    for index, node in enumerate(graph.node):
        b.current, b.index = node, index
        _read(b, node)
    outputs = _outputs(b, [each.name for each in graph.output])
    for source in sources:
        if source not in b.tensors:
            what, expected = "it is not quantised, or nothing reads it", "QuantizeLinear behind it"
            raise ExportError(f"{where}, input '{source}'", what, expected=expected, next_step=NEXT)
    read = b.graph(name or graph.name or "onnx", tuple(sources), tuple(outputs))
    codes: OnnxCodes = "int8" if "int8" in b.dtypes.values() else "uint8"
    return read, Places(sources, outputs, _activations(b, graph, read, outputs), codes)


def _require_readable(b: OnnxGraphBuilder, graph: onnx.GraphProto) -> None:
    """Refuse operators without a reader, which say more than what follows from them, and float networks."""
    for index, node in enumerate(graph.node):
        b.current, b.index = node, index
        if node.domain not in DOMAINS or node.op_type not in KNOWN:
            kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            b.refuse(f"limit: {kind} is not supported", expected="the operators that docs/operators.md lists")
    kinds = {node.op_type for node in graph.node}
    if "QuantizeLinear" not in kinds and "DequantizeLinear" not in kinds and not kinds & qoperator.ROWS.keys():
        raise ExportError(b.where, "a float network", expected="a network of int8 or uint8 codes", next_step=NEXT)


def _read(b: OnnxGraphBuilder, node: onnx.NodeProto) -> None:
    """Fold a node, or append what its reader makes of it."""
    given = [b.values.get(each) for each in node.input]
    if all(isinstance(value, Constant) or name == "" for name, value in zip(node.input, given, strict=True)):
        arrays = [value.values if isinstance(value, Constant) else None for value in given]
        output = folded(node, arrays, b.opset)
        if output is not None:
            b.result(Constant(output))
            return
    if node.op_type == SHAPE:
        b.result(Constant(_shape(b)))
        return
    if node.op_type not in READERS:
        b.refuse(f"limit: {node.op_type} of a tensor that is not constant")
    try:
        READERS[node.op_type](b)
    except (TypeError, ValueError, LookupError, ArithmeticError) as problem:  # onnx's checker does not compare sizes
        b.refuse("its inputs and attributes do not fit", got=f"{problem}"[:160])


def _shape(b: OnnxGraphBuilder) -> np.ndarray:
    value, attributes = b.value(0), b.attributes()
    shape: tuple[int, ...]
    if isinstance(value, Pending):
        if value.then:
            b.refuse("limit: shape of a tensor that is moved before it is quantised")
        shape = tuple(value.shape[axis] for axis in value.order)
    elif isinstance(value, Codes):
        shape = b.shape(value)
    elif isinstance(value, Constant):
        shape = value.values.shape
    else:
        b.refuse("shape of a weight")
    return np.asarray(shape[attributes.get("start", 0) : attributes.get("end")], np.int64)


def _inputs(b: OnnxGraphBuilder, file: OnnxFile) -> dict[str, Place]:
    """The places of the inputs by name."""
    for ends, what in ((file.inputs, "inputs"), (file.graph.output, "outputs")):
        if not 1 <= len(ends) <= MOST_ENDS:
            raise ExportError(b.where, f"limit: {len(ends)} {what}", expected=f"1 to {MOST_ENDS}")
    return {each.name: _input(b, each, file.graph) for each in file.inputs}


def _has_channels_last(graph: onnx.GraphProto, name: str) -> bool:
    """Whether channels of an input move to the front first, as TensorFlow's exporters write it."""
    same = {name}
    for node in graph.node:
        if not same.isdisjoint(node.input[:1]):
            if node.op_type == "Transpose":
                return [list(each.ints) for each in node.attribute] == [list(NHWC)]
            if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Identity"):
                same.update(node.output)
    return False


def _input(b: OnnxGraphBuilder, value: onnx.ValueInfoProto, graph: onnx.GraphProto) -> Place:
    """The place of an input. Its tensor is added where its scale is known: it is pending until then."""
    sizes, name = _input_shape(b, value), str(value.name)
    plain: Order = tuple(range(len(sizes)))
    order = NHWC if len(sizes) == 4 and not _has_channels_last(graph, name) else plain
    shape = tuple(sizes[order.index(axis)] for axis in range(len(sizes)))

    def emit(_: Pending, __: bool, quant: Quant) -> str:
        if name in b.tensors:
            b.refuse("the input has two scales", expected=b.tensors[name].quant, got=quant)
        b.tensors[name] = Tensor(name, shape, "int8", quant)
        return name

    b.values[name] = b.pending(emit, shape, order)
    return Place(name, order)


def _input_shape(b: OnnxGraphBuilder, value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Sizes of the input; a batch that varies is 1."""
    dims = value.type.tensor_type.shape.dim
    sizes = [dim.dim_value for dim in dims]
    if sizes and sizes[0] == 0:
        sizes[0] = 1
    if not sizes or min(sizes) < 1:
        got = [dim.dim_value or dim.dim_param or "?" for dim in dims]
        where, expected = f"{b.where}, input '{value.name}'", "only the batch may vary"
        raise ExportError(where, "its sizes are not fixed", expected=expected, got=got)
    return tuple(sizes)


def _outputs(b: OnnxGraphBuilder, names: list[str]) -> dict[str, Place]:
    """The graph's outputs, with the file's names where no other tensor has them, and channels last."""
    written: dict[str, Place] = {}
    for name in names:
        last = _written(b, name)
        if last.name in written or not any(node.output == last.name for node in b.nodes):  # given out, or an input
            tensor = b.tensors[last.name]
            copy = b.node(f"{name}_copy", ops.Reshape(tensor.shape), (last.name,), tensor.quant)
            last = Codes(copy, last.order)
        written[last.name] = Place(name, last.order)
    return {_renamed(b, last, place.name): place for last, place in written.items()}


def _activations(
    b: OnnxGraphBuilder, file: onnx.GraphProto, graph: Graph, outputs: Mapping[str, Place]
) -> dict[str, Place]:
    """The codes that nodes of the file write, by the graph's tensor; not those of inputs and outputs."""
    places: dict[str, Place] = {}
    for node in file.node:
        value = b.values.get(node.output[0]) if node.op_type in WRITES_CODES else None
        if isinstance(value, Codes) and value.name in graph.tensors:
            places.setdefault(value.name, Place(node.output[0], value.order))
    return {name: place for name, place in places.items() if name not in (*graph.inputs, *outputs)}


def _written(b: OnnxGraphBuilder, name: str) -> Codes:
    """The graph's tensor of an output, with channels last."""
    where = f"{b.where}, output '{name}'"
    value = b.values.get(name)
    if isinstance(value, Pending) and value.natural is not None:
        value = b.quantised(value, value.natural)
    if isinstance(value, Pending):
        b.current, b.index = value.node
        what = f"left in float by operator {b.index} ({b.current.op_type}), so that its codes are not defined"
        step = "quantise the outputs too, as ONNX Runtime's quantize_static does"
        raise ExportError(where, what, expected="QuantizeLinear before it", next_step=step)
    if not isinstance(value, Codes):
        raise ExportError(where, "it is constant", expected="an activation")
    plain: Order = tuple(range(len(value.order)))
    order = NHWC if len(plain) == 4 and value.order != plain else plain
    return Codes(b.ordered(value, order), order)


def _renamed(b: OnnxGraphBuilder, last: str, name: str) -> str:
    """The graph's tensor under the file's name, where that is free."""
    if last == name or name in b.tensors:
        return last
    tensor = b.tensors.pop(last)
    b.tensors[name] = replace(tensor, name=name)
    b.nodes = [
        replace(
            node,
            output=name if node.output == last else node.output,
            inputs=tuple(name if each == last else each for each in node.inputs),
        )
        for node in b.nodes
    ]
    return name
