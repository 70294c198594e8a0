"""Read an int8 TFLite file, written by tinyscene or by another converter, as an integer graph.

Operators beyond the op set are lowered to it exactly, byte for byte as TFLite's kernels compute them: a PAD becomes the
pads of the next convolution, one scale of a whole weight becomes one per channel, a missing bias becomes zeros. Refuses
operators that :mod:`tinyscene.export.formats.tflite_operators` has no row for, by number and name.
"""

from __future__ import annotations

from tinyscene.runtime.graph import Graph

from ..errors import ExportError
from .tflite_builder import GraphBuilder
from .tflite_file import Int8File, Operator
from .tflite_limits import UINT8, UINT8_OPERATORS
from .tflite_operators import READERS
from .tflite_variables import OF_VARIABLES


def from_tflite(data: bytes, *, where: str = "TFLite file", name: str | None = None) -> Graph:
    """The checked graph of a file.

    Args:
        where: name of the file in messages.
        name: of the graph; by default the name in the file.

    Raises:
        ExportError: the file is unreadable or not int8 throughout, or an operator is not supported.
    """
    return graph_of(Int8File(data, where), name)


def graph_of(file: Int8File, name: str | None = None) -> Graph:
    """As :func:`from_tflite`, for an open file."""
    return builder_of(file).graph(name)


def builder_of(file: Int8File) -> GraphBuilder:
    """The builder with all nodes of an open file."""
    builder = GraphBuilder(file)
    for index in file.inputs:
        builder.activation(index)
    for operator in file.operators:
        if operator.index in builder.merged:
            continue
        builder.current = operator
        row = READERS.get(operator.kind)
        if row is None:
            raise _without_reader(builder, operator)
        _require_one_type(builder, operator)
        given = len(operator.inputs)
        if not row.fewest <= given <= row.most:
            expected = f"{row.fewest} to {row.most} inputs"
            raise builder.refusal(operator, "number of inputs", expected=expected, got=given)
        row.read(builder, operator)
    for index in file.outputs:
        builder.output(index)
    return builder


def _require_one_type(builder: GraphBuilder, operator: Operator) -> None:
    """Refuse uint8 beside int8, which no engine runs, and uint8 where its arithmetic is not that of int8 codes."""
    file = builder.file
    tensors = [index for index in (*operator.inputs, *operator.outputs) if index >= 0 and file.type(index) == "int8"]
    of_uint8 = [file.is_uint8(index) for index in tensors]
    if any(of_uint8) and operator.kind not in UINT8_OPERATORS:
        raise builder.refusal(operator, f"limit: {UINT8.what}", next_step=UINT8.next_step)
    if any(of_uint8) and not all(of_uint8) and operator.kind != "QUANTIZE":
        raise builder.refusal(operator, "types of its tensors", expected="uint8 or int8", got="both")


def _without_reader(builder: GraphBuilder, operator: Operator) -> ExportError:
    """The refusal of an operator without a row, with the list of those that have one."""
    return builder.refusal(operator, "limit: not supported", expected=", ".join(sorted([*READERS, *OF_VARIABLES])))
