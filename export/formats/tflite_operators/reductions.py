"""Readers of TFLite operators: means and softmax, which combine elements along axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.tflite_schema import (
    ReducerOptions,
    SoftmaxOptions,
)

from ..tflite_file import Operator
from .common import Row, options_of, unary

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder


def _mean(builder: GraphBuilder, operator: Operator) -> None:
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    numbers = builder.constant(operator, 1, np.int32).ravel().tolist()
    axes = {axis % 4 for axis in numbers if -4 <= axis < 4}
    meanings: dict[tuple[int, ...], Literal["space", "channels"]] = {(1, 2): "space", (3,): "channels"}
    over = meanings.get(tuple(sorted(axes)))
    if over is None or len(x.shape) != 4 or len(numbers) != len(axes):
        got = f"{numbers[:8]} of {len(x.shape)}"
        raise builder.refusal(operator, "mean over these axes", expected="1 and 2, or 3, of 4", got=got)
    axes_name = builder.file.names[operator.inputs[1]]
    name = axes_name.removesuffix("_axes") if axes_name.endswith("_axes") else None
    builder.node(ops.Mean(over, options_of(operator, ReducerOptions).keep_dims), (x.name,), out, name)


def _softmax(builder: GraphBuilder, operator: Operator) -> None:
    beta = options_of(operator, SoftmaxOptions).beta
    if beta != 1.0:
        raise builder.refusal(operator, "softmax with another beta", expected=1.0, got=beta)
    unary(ops.Softmax())(builder, operator)


ROWS: dict[str, Row] = {"MEAN": Row(_mean, 2, 2), "SOFTMAX": Row(_softmax, 1, 1)}
