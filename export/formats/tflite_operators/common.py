"""What readers of several families share: rows, options, fused activations and nodes with one input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor
from tinyscene.runtime.lookup_tables import code_of_six, fused_code_of_six
from tinyscene.runtime.tflite_options import (
    ConcatenationOptions,
    Conv2DOptions,
    DepthwiseConv2DOptions,
    ElementwiseOptions,
    FullyConnectedOptions,
    Options,
    Pool2DOptions,
    TransposeConvOptions,
)

from ..tflite_file import Operator

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

Reader = Callable[["GraphBuilder", Operator], None]

Kind = TypeVar("Kind", bound=Options)

Fused = (
    Conv2DOptions
    | DepthwiseConv2DOptions
    | TransposeConvOptions
    | Pool2DOptions
    | FullyConnectedOptions
    | ElementwiseOptions
)


@dataclass(frozen=True)
class Row:
    """A reader, and how many inputs its operator has."""

    read: Reader
    fewest: int
    most: int


def options_of(operator: Operator, kind: type[Kind]) -> Kind:
    assert isinstance(operator.options, kind)  # the schema of the file has one kind of options for each operator
    return operator.options


def append(
    builder: GraphBuilder,
    operator: Operator,
    make: Callable[[bool], ops.Op],
    inputs: tuple[str, ...],
    name: str | None = None,
    out: Tensor | None = None,
) -> None:
    """Append the node that ``make`` returns for ReLU or none, and a look-up if the fused activation needs one.

    ``out``: in place of the operator's output.
    """
    kinds, options = schema.ActivationFunctionType, operator.options
    assert isinstance(options, Fused | ConcatenationOptions)
    kind, out = options.fused_activation_function, out or builder.activation(operator.output)
    if kind not in (kinds.NONE, kinds.RELU, kinds.RELU6, kinds.RELU_N1_TO_1):
        names, expected = {code: name for name, code in vars(kinds).items()}, "NONE, RELU, RELU6 or RELU_N1_TO_1"
        raise builder.refusal(operator, "fused activation", expected=expected, got=names.get(kind, kind))
    if kind == kinds.RELU6 and code_of_six(out.quant) != fused_code_of_six(out.quant):
        got = f"{code_of_six(out.quant)} on TFLite Micro, {fused_code_of_six(out.quant)} on XNNPACK"
        raise builder.refusal(operator, "6 of the fused RELU6 is between two codes", expected="one code", got=got)
    relu = kind in (kinds.RELU, kinds.RELU6)
    op = make(relu)
    if kind == kinds.RELU_N1_TO_1:
        after = ops.Lookup("relu_n1_to_1")
    elif kind == kinds.RELU6 and code_of_six(out.quant) < 127:
        after = ops.Lookup("relu6")
    elif relu and not hasattr(op, "relu") and out.quant.zero_point > -128:
        after = ops.Lookup("relu")
    else:
        builder.node(op, inputs, out, name)
        return
    inner = builder.inner(out, "before_activation")
    builder.node(op, inputs, inner, name)
    builder.node(after, (inner.name,), out)


def unary(op: ops.Op) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        builder.node(op, (builder.activation(operator.inputs[0]).name,), builder.activation(operator.output))

    return read


def rows_of(builder: GraphBuilder, index: int, *, moves_first: bool) -> tuple[Tensor, int]:
    """The graph's tensor, and how many axes it has before those of the file.

    Where an operator ``moves_first``, the first axis of the file, the batch of the graph is one before it.
    """
    x, before = builder.activation(index), 0 if builder.file.is_stored(index) else builder.leading_axes(index)
    if before or not moves_first:
        return x, before
    rows = builder.inner(x, "rows", (1, *x.shape))
    builder.node(ops.Reshape(rows.shape), (x.name,), rows)
    return rows, 1


def to_output(
    builder: GraphBuilder,
    operator: Operator,
    op: ops.Transpose | ops.Pad | ops.Slice,
    x: Tensor,
    name: str | None = None,
    position: int = 0,
) -> None:
    """A node for an op whose result may lack axes of size 1 of the output, or have more: a reshape follows then."""
    out, shape = builder.activation(operator.outputs[position]), ops.OPS[type(op)].shape(op, x.shape)
    if ops.keeps_order(op, x.shape):
        builder.node(ops.Reshape(out.shape), (x.name,), out, name)
    elif shape == out.shape:
        builder.node(op, (x.name,), out, name)
    else:
        part = builder.inner(x, "part", shape)
        builder.node(op, (x.name,), part, name)
        builder.node(ops.Reshape(out.shape), (part.name,), out)


def same_elements(builder: GraphBuilder, operator: Operator) -> None:
    """A node for an operator that moves no element; its output has been compared with what the engines compute."""
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    builder.node(ops.Reshape(out.shape), (x.name,), out, constant_name(builder, operator, 1, "_shape"))


def constant_name(builder: GraphBuilder, operator: Operator, position: int, suffix: str) -> str | None:
    """The node's name as our own writer forms a constant's name of it; None in other files."""
    index = operator.inputs[position] if position < len(operator.inputs) else -1
    name = builder.file.names[index] if index >= 0 else ""
    return name.removesuffix(suffix) if name.endswith(suffix) else None
