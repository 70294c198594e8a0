"""Readers of TFLite operators: sums, products and functions of single elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Function
from tinyscene.runtime.tflite_schema import GeluOptions, LeakyReluOptions

from ..tflite_file import Operator
from .common import Reader, Row, append, options_of, unary

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder


def _pair(make: Callable[[bool], ops.Op]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        a, b = (builder.activation(index) for index in operator.inputs)
        if make is ops.Mul and math.prod(b.shape) > math.prod(a.shape):
            a, b = b, a
        append(builder, operator, make, (a.name, b.name))

    return read


def _leaky_relu(builder: GraphBuilder, operator: Operator) -> None:
    unary(ops.Lookup("leaky_relu", options_of(operator, LeakyReluOptions).alpha))(builder, operator)


def _gelu(builder: GraphBuilder, operator: Operator) -> None:
    approximate = options_of(operator, GeluOptions).approximate
    unary(ops.Lookup("gelu_tanh" if approximate else "gelu"))(builder, operator)


_FUNCTIONS: dict[str, Function] = {
    "ABS": "abs",
    "ELU": "elu",
    "EXP": "exp",
    "HARD_SWISH": "hard_swish",
    "LOG": "log",
    "LOGISTIC": "logistic",
    "NEG": "neg",
    "QUANTIZE": "requantise",
    "RELU": "relu",
    "RELU6": "relu6",
    "RELU_0_TO_1": "relu_0_to_1",
    "RELU_N1_TO_1": "relu_n1_to_1",
    "SQRT": "sqrt",
    "TANH": "tanh",
}
ROWS: dict[str, Row] = {
    **{name: Row(unary(ops.Lookup(function)), 1, 1) for name, function in _FUNCTIONS.items()},
    "ADD": Row(_pair(ops.Add), 2, 2),
    "GELU": Row(_gelu, 1, 1),
    "LEAKY_RELU": Row(_leaky_relu, 1, 1),
    "MUL": Row(_pair(ops.Mul), 2, 2),
    "RSQRT": Row(unary(ops.Rsqrt()), 1, 1),
    "SUB": Row(_pair(ops.Sub), 2, 2),
}
