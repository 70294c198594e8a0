"""Readers of TFLite operators: sums, products and functions of single elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tinyscene.runtime import ops

from ..tflite_file import Operator
from .common import Reader, Row, append, unary

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder


def _pair(make: Callable[[bool], ops.Op]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        a, b = (builder.activation(index) for index in operator.inputs)
        if make is ops.Mul and math.prod(b.shape) > math.prod(a.shape):
            a, b = b, a
        append(builder, operator, make, (a.name, b.name))

    return read


ROWS: dict[str, Row] = {
    "ADD": Row(_pair(ops.Add), 2, 2),
    "LOGISTIC": Row(unary(ops.Lookup("logistic")), 1, 1),
    "MUL": Row(_pair(ops.Mul), 2, 2),
    "QUANTIZE": Row(unary(ops.Lookup("requantise")), 1, 1),
    "RELU": Row(unary(ops.Lookup("relu")), 1, 1),
    "RELU6": Row(unary(ops.Lookup("relu6")), 1, 1),
    "RSQRT": Row(unary(ops.Rsqrt()), 1, 1),
    "SUB": Row(_pair(ops.Sub), 2, 2),
}
