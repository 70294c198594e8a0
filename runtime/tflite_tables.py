"""A TFLite file as typed records, validated once and completely: every engine and every reader gets only such files.

Refuses, naming the tensor or operator: bytes that are no TFLite file; numbers of tensors, buffers and operator codes
that do not exist; missing inputs that the operator needs; constants whose bytes are not those of their type and shape;
scales and zero points that are not one or one per slice; sizes beyond :data:`LARGEST_SIZE`; operators that read what no
operator before them writes; options out of range or of another operator; several graphs, but for :func:`read_graphs`;
and buffers outside the flatbuffer. Metadata, signatures and descriptions are not read.
"""

from __future__ import annotations

import math

from .errors import GET_ANOTHER, RuntimeFailure, TinysceneError
from .flatbuffer import Malformed, read_flatbuffer
from .tflite_options import MOST_DIMENSIONS, OPTIONAL, OPTIONS, OPTIONS_TYPE_OF_CODE, named_graphs
from .tflite_schema import (
    FIRST_OPTIONAL,
    IDENTIFIER,
    PLAIN_OPERATORS,
    TYPE_BITS,
    TYPES,
    Buffer,
    Operator,
    Subgraph,
    Tensor,
    TfliteTables,
)

LARGEST_SIZE = 2**31 - 1  # elements of a tensor
SHARED_CONSTANTS = 16  # times the file's size that its constants may take together, where tensors share buffers


def read_tables(data: bytes, where: str, error: type[TinysceneError] = RuntimeFailure) -> TfliteTables:
    """The records of a file with one graph.

    Raises:
        error: see the module's refusals; ``where`` names the file.
    """
    model = _read(data, where, error)
    require_one_graph(model, where, error)
    return _checked(model, data, where, error)


def require_one_graph(
    model: TfliteTables, where: str, error: type[TinysceneError] = RuntimeFailure, others: frozenset[int] = frozenset()
) -> None:
    """Refuse graphs besides the main one and ``others``, the numbers of those that its reader takes.

    Raises:
        error: ``where`` names the file.
    """
    if any(number not in others for number in range(1, len(model.subgraphs))) or not model.subgraphs:
        what = "limit: several graphs in one file, as of loops (a GRU, an LSTM of Keras 3) and of several signatures"
        step = "convert an LSTM of Keras 2 (tf_keras), or unroll the loop; or convert one signature alone"
        raise error(where, what, expected="one", got=len(model.subgraphs), next_step=step)


def read_graphs(data: bytes, where: str, error: type[TinysceneError] = RuntimeFailure) -> TfliteTables:
    """As :func:`read_tables`, of a file that may have several graphs: the first is the main one."""
    return _checked(_read(data, where, error), data, where, error)


def _read(data: bytes, where: str, error: type[TinysceneError]) -> TfliteTables:
    if data[4:8] != IDENTIFIER:
        got = f"{len(data):,} bytes without the TFL3 identifier"
        raise error(where, "not a readable TFLite file", got=got, next_step=GET_ANOTHER)
    try:
        return read_flatbuffer(TfliteTables, data)
    except Malformed as problem:
        raise _unreadable(problem, where, error) from None


def _checked(model: TfliteTables, data: bytes, where: str, error: type[TinysceneError]) -> TfliteTables:
    try:
        _check(model, len(data))
    except Malformed as problem:
        raise _unreadable(problem, where, error) from None
    return model


def _unreadable(problem: Malformed, where: str, error: type[TinysceneError]) -> TinysceneError:
    place = problem.field.removeprefix("subgraph 0, ")
    return error(
        f"{where}, {place}" if place else where,
        f"not a readable TFLite file: {problem.what}",
        expected=problem.expected or None,
        got=problem.got or None,
        next_step=GET_ANOTHER,
    )


def _check(model: TfliteTables, n_bytes: int) -> None:
    """The checks across tables; those within one table are in the records."""
    if not model.subgraphs:
        raise Malformed("", "no graph")
    for number, graph in enumerate(model.subgraphs):
        try:
            _check_graph(model, graph)
        except Malformed as problem:
            place = ", ".join(filter(None, (f"subgraph {number}", problem.field)))
            raise Malformed(place, problem.what, problem.expected, problem.got) from None
    tensors = (tensor for graph in model.subgraphs for tensor in graph.tensors)
    if sum(len(model.buffers[tensor.buffer].data) for tensor in tensors) > SHARED_CONSTANTS * n_bytes:
        raise Malformed("", f"tensors that share buffers take over {SHARED_CONSTANTS} times the file")


def _check_graph(model: TfliteTables, graph: Subgraph) -> None:
    for number, tensor in enumerate(graph.tensors):
        place = f"tensor {number} '{tensor.name[:80]}'"
        _below(tensor.buffer, len(model.buffers), f"{place}, buffer")
        _check_tensor(tensor, model.buffers[tensor.buffer], place)
    for ends, name in ((graph.inputs, "inputs"), (graph.outputs, "outputs")):
        for index in ends.tolist():
            _below(index, len(graph.tensors), name)
    for number, operator in enumerate(graph.operators):
        _check_operator(model, graph, operator, f"operator {number}")
    _check_order(model, graph)


def _check_operator(model: TfliteTables, graph: Subgraph, operator: Operator, place: str) -> None:
    _below(operator.opcode_index, len(model.operator_codes), f"{place}, opcode_index")
    for index in (*operator.inputs.tolist(), *operator.outputs.tolist()):
        _below(index, len(graph.tensors), f"{place}, inputs and outputs")
    for index in operator.intermediates.tolist():
        _below(index, len(graph.tensors), f"{place}, intermediates")
    for index in named_graphs(operator.options):
        _below(index, len(model.subgraphs), f"{place}, options")
    code = model.operator_codes[operator.opcode_index].code
    needed = operator.inputs.tolist()[: FIRST_OPTIONAL.get(code)]
    if code in PLAIN_OPERATORS and (-1 in needed or not needed or not len(operator.outputs)):
        what = f"input {needed.index(-1)} of" if -1 in needed else "input or output of"
        raise Malformed(place, f"{what} {PLAIN_OPERATORS[code]} is missing")
    expected = OPTIONS_TYPE_OF_CODE.get(code, operator.options_type)
    if operator.options_type not in (0, expected):
        raise Malformed(place, "its options are those of another operator", str(expected), str(operator.options_type))
    if expected in OPTIONS and expected not in OPTIONAL and operator.options is None:
        raise Malformed(place, "has no options")


def _check_tensor(tensor: Tensor, buffer: Buffer, place: str) -> None:
    shape, size = tensor.shape.tolist(), math.prod(tensor.shape.tolist())
    if len(shape) > MOST_DIMENSIONS or size > LARGEST_SIZE:
        expected = f"{MOST_DIMENSIONS} dimensions and {LARGEST_SIZE:,} elements at most"
        raise Malformed(place, "too large", expected, _sizes(shape))
    signature = tensor.shape_signature.tolist()
    if signature and (
        len(signature) != len(shape) or any(s not in (-1, n) for s, n in zip(signature, shape, strict=True))
    ):
        raise Malformed(place, "shape_signature contradicts shape", _sizes(shape), _sizes(signature))
    quantization = tensor.quantization
    if quantization is not None and len(quantization.scale):
        scales, axis = len(quantization.scale), quantization.quantized_dimension
        slices = shape[axis] if axis < len(shape) else 1
        if scales not in (1, slices):
            raise Malformed(place, "number of scales", f"1, or {slices} as dimension {axis} has slices", str(scales))
        if len(quantization.zero_point) not in (0, 1, scales):
            raise Malformed(place, "number of zero points", str(scales), str(len(quantization.zero_point)))
    bits = TYPE_BITS[TYPES[tensor.type]] if tensor.type < len(TYPES) else None
    stored = len(buffer.data)
    if stored and bits is not None and not tensor.sparsity and stored != -(-size * bits // 8):
        expected = f"{-(-size * bits // 8):,} bytes for {TYPES[tensor.type]} {_sizes(shape)}"
        raise Malformed(place, "its buffer has another size", expected, f"{stored:,} bytes")


def _check_order(model: TfliteTables, graph: Subgraph) -> None:
    """Each tensor is written at most once, and nothing is read before it is written."""
    sizes = [math.prod(tensor.shape.tolist()) for tensor in graph.tensors]
    stored = {
        number
        for number, tensor in enumerate(graph.tensors)
        if len(model.buffers[tensor.buffer].data) or tensor.is_variable or not sizes[number]
    }
    written = stored | set(graph.inputs.tolist())
    for number, operator in enumerate(graph.operators):
        for index in operator.inputs.tolist():
            if index >= 0 and index not in written:
                raise Malformed(f"operator {number}", f"reads tensor {index}, which no operator before it writes")
        for index in operator.outputs.tolist():
            if index in written and sizes[index]:
                raise Malformed(f"operator {number}", f"writes tensor {index}, which is written or stored already")
            written.add(index)
    for index in graph.outputs.tolist():
        if index not in written:
            raise Malformed("outputs", f"tensor {index} is an output that no operator writes")


def _below(index: int, count: int, field: str) -> None:
    if index >= count:
        raise Malformed(field, "names one that does not exist", f"0 to {count - 1}", str(index))


def _sizes(shape: list[int]) -> str:
    return f"({', '.join(map(str, shape))})"
