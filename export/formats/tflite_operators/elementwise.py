"""Readers of TFLite operators: sums, products and functions of single elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Function
from tinyscene.runtime.tflite_options import ElementwiseOptions, GatherOptions, GeluOptions, LeakyReluOptions

from ..tflite_file import Operator
from ..tflite_limits import float_part
from .common import Reader, Row, append, options_of, same_elements, unary

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder


def _cast(builder: GraphBuilder, operator: Operator) -> None:
    """Codes as int32, for the indices of a GATHER."""
    types = builder.file.type(operator.inputs[0]), builder.file.type(operator.output)
    if types != ("int8", "int32"):
        raise builder.refusal(operator, "types", expected="int8 to int32", got=" to ".join(types))
    builder.require_shape(operator, builder.file.shape(operator.inputs[0]))
    builder.indices[operator.output] = (operator.inputs[0], 0)


def _add(builder: GraphBuilder, operator: Operator) -> None:
    """A sum, or the offset of the indices of a GATHER."""
    source, offset = builder.indices.get(operator.inputs[0], (-1, 0))
    if source < 0:
        _pair(ops.Add)(builder, operator)
        return
    added = builder.constant(operator, 1, np.int32)
    if added.size != 1 or options_of(operator, ElementwiseOptions).fused_activation_function:
        raise builder.refusal(operator, "sum of indices", expected="one constant, without activation", got=added.shape)
    builder.require_shape(operator, builder.file.shape(operator.inputs[0]))
    builder.indices[operator.output] = (source, offset + int(added.reshape(-1)[0]))


def gathered_table(builder: GraphBuilder, operator: Operator) -> None:
    """A GATHER from 256 codes, indexed by the codes of an activation."""
    source, offset = builder.indices[operator.inputs[1]]
    options = options_of(operator, GatherOptions)
    shape = builder.file.shape(operator.inputs[0])
    if offset != 128 or shape != (256,) or options.axis not in (0, -1) or options.batch_dims:
        expected = "a constant of 256 codes, indexed by int8 codes plus 128"
        raise builder.refusal(operator, "its table or its indices", expected=expected, got=f"{shape}, offset {offset}")
    x, table = builder.activation(source), builder.activation(operator.inputs[0])
    builder.require_shape(operator, x.shape)
    builder.node(ops.Table(), (x.name, table.name), builder.activation(operator.output))


def _pair(make: Callable[[bool], ops.Op]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        a, b = (builder.activation(index) for index in operator.inputs)
        if make is ops.Mul and math.prod(b.shape) > math.prod(a.shape):
            a, b = b, a
        append(builder, operator, make, (a.name, b.name))

    return read


def _extremum(kind: Literal["max", "min"]) -> Reader:
    """Engines compare codes, whatever their scales."""

    def read(builder: GraphBuilder, operator: Operator) -> None:
        a, b = (builder.activation(index) for index in operator.inputs)
        builder.node(ops.Extremum(kind), (a.name, b.name), builder.activation(operator.output))

    return read


def _squared_difference(builder: GraphBuilder, operator: Operator) -> None:
    a, b = (builder.activation(index) for index in operator.inputs)
    builder.node(ops.SquaredDifference(), (a.name, b.name), builder.activation(operator.output))


def _leaky_relu(builder: GraphBuilder, operator: Operator) -> None:
    unary(ops.Lookup("leaky_relu", options_of(operator, LeakyReluOptions).alpha))(builder, operator)


def _gelu(builder: GraphBuilder, operator: Operator) -> None:
    approximate = options_of(operator, GeluOptions).approximate
    unary(ops.Lookup("gelu_tanh" if approximate else "gelu"))(builder, operator)


def _prelu(builder: GraphBuilder, operator: Operator) -> None:
    x, alpha = (builder.activation(index) for index in operator.inputs)
    builder.node(ops.PRelu(), (x.name, alpha.name), builder.activation(operator.output))


def _quantize(builder: GraphBuilder, operator: Operator) -> None:
    """Another scale; of a tensor that is a moved code in float32 the code itself."""
    if builder.file.is_moved_real(operator.inputs[0]):
        same_elements(builder, operator)
    else:
        unary(ops.Lookup("requantise"))(builder, operator)


def _dequantize(builder: GraphBuilder, operator: Operator) -> None:
    """The code itself, where its real value is only moved before it is quantised again."""
    file = builder.file
    if not file.is_moved_real(operator.output):
        limit = float_part(op.kind for op in file.operators if any(file.type(i) == "float32" for i in op.outputs))
        raise builder.refusal(operator, f"limit: {limit.what}", next_step=limit.next_step)
    same_elements(builder, operator)


_FUNCTIONS: dict[str, Function] = {
    "ABS": "abs",
    "ELU": "elu",
    "EXP": "exp",
    "HARD_SWISH": "hard_swish",
    "LOG": "log",
    "LOGISTIC": "logistic",
    "NEG": "neg",
    "RELU": "relu",
    "RELU6": "relu6",
    "RELU_0_TO_1": "relu_0_to_1",
    "RELU_N1_TO_1": "relu_n1_to_1",
    "SQRT": "sqrt",
    "TANH": "tanh",
}
ROWS: dict[str, Row] = {
    **{name: Row(unary(ops.Lookup(function)), 1, 1) for name, function in _FUNCTIONS.items()},
    "ADD": Row(_add, 2, 2),
    "CAST": Row(_cast, 1, 1),
    "GELU": Row(_gelu, 1, 1),
    "LEAKY_RELU": Row(_leaky_relu, 1, 1),
    "PRELU": Row(_prelu, 2, 2),
    "MAXIMUM": Row(_extremum("max"), 2, 2),
    "MINIMUM": Row(_extremum("min"), 2, 2),
    "MUL": Row(_pair(ops.Mul), 2, 2),
    "DEQUANTIZE": Row(_dequantize, 1, 1),
    "QUANTIZE": Row(_quantize, 1, 1),
    "RSQRT": Row(unary(ops.Rsqrt()), 1, 1),
    "SQUARED_DIFFERENCE": Row(_squared_difference, 2, 2),
    "SUB": Row(_pair(ops.Sub), 2, 2),
}
