"""What readers of several families share: rows, options, fused activations and nodes with one input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.lookup_tables import code_of_six, fused_code_of_six
from tinyscene.runtime.tflite_schema import (
    ConcatenationOptions,
    Conv2DOptions,
    DepthwiseConv2DOptions,
    ElementwiseOptions,
    FullyConnectedOptions,
    Options,
    Pool2DOptions,
)

from ..tflite_file import Operator

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

Reader = Callable[["GraphBuilder", Operator], None]

Kind = TypeVar("Kind", bound=Options)

Fused = Conv2DOptions | DepthwiseConv2DOptions | Pool2DOptions | FullyConnectedOptions | ElementwiseOptions


@dataclass(frozen=True)
class Row:
    """A reader, and how many inputs its operator has; those beyond ``fewest`` may be missing."""

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
) -> None:
    """Append the node that ``make`` returns for ReLU or none, and a look-up if the fused activation needs one."""
    kinds, options = schema.ActivationFunctionType, operator.options
    assert isinstance(options, Fused | ConcatenationOptions)
    kind, out = options.fused_activation_function, builder.activation(operator.output)
    if kind not in (kinds.NONE, kinds.RELU, kinds.RELU6):
        names = {code: name for name, code in vars(kinds).items()}
        raise builder.refusal(operator, "fused activation", expected="NONE, RELU or RELU6", got=names.get(kind, kind))
    if kind == kinds.RELU6 and code_of_six(out.quant) != fused_code_of_six(out.quant):
        got = f"{code_of_six(out.quant)} on TFLite Micro, {fused_code_of_six(out.quant)} on XNNPACK"
        raise builder.refusal(operator, "6 of the fused RELU6 is between two codes", expected="one code", got=got)
    relu, op = kind != kinds.NONE, make(kind != kinds.NONE)
    if kind == kinds.RELU6 and code_of_six(out.quant) < 127:
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


def same_elements(builder: GraphBuilder, operator: Operator) -> None:
    """A node for an operator that moves no element; its output has been compared with what the engines compute."""
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    shape_name = builder.file.names[operator.inputs[1]] if len(operator.inputs) > 1 else ""
    name = shape_name.removesuffix("_shape") if shape_name.endswith("_shape") else None
    builder.node(ops.Reshape(out.shape), (x.name,), out, name)
