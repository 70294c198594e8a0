"""Readers of TFLite operators: reductions and softmax, which combine elements along axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.tflite_options import ElementwiseOptions, ReducerOptions, SoftmaxOptions

from ..tflite_file import Operator
from .common import Reader, Row, options_of, unary

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder


def _reduction(kind: Literal["mean", "sum", "max", "min"]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
        rank, before = len(builder.file.shape(operator.inputs[0])), builder.leading_axes(operator.inputs[0])
        numbers = builder.constant(operator, 1, np.int32).ravel().tolist()
        stated = {axis % rank + before for axis in numbers if -rank <= axis < rank}
        axes = tuple(sorted(stated - {0}))  # the batch, which is 1
        if not axes or len(numbers) != len(stated):
            expected = f"different ones from 0 to {rank - 1}, not the batch alone"
            raise builder.refusal(operator, "axes", expected=expected, got=numbers[:8])
        axes_name = builder.file.names[operator.inputs[1]]
        name = axes_name.removesuffix("_axes") if axes_name.endswith("_axes") else None
        builder.node(ops.Reduce(kind, axes, options_of(operator, ReducerOptions).keep_dims), (x.name,), out, name)

    return read


def _softmax(builder: GraphBuilder, operator: Operator) -> None:
    unary(ops.Softmax(options_of(operator, SoftmaxOptions).beta))(builder, operator)


def _l2_normalization(builder: GraphBuilder, operator: Operator) -> None:
    if options_of(operator, ElementwiseOptions).fused_activation_function:
        raise builder.refusal(operator, "fused activation", expected="NONE")
    unary(ops.L2Norm())(builder, operator)


ROWS: dict[str, Row] = {
    "L2_NORMALIZATION": Row(_l2_normalization, 1, 1),
    "LOG_SOFTMAX": Row(unary(ops.LogSoftmax()), 1, 1),
    "MEAN": Row(_reduction("mean"), 2, 2),
    "REDUCE_MAX": Row(_reduction("max"), 2, 2),
    "REDUCE_MIN": Row(_reduction("min"), 2, 2),
    "SOFTMAX": Row(_softmax, 1, 1),
    "SUM": Row(_reduction("sum"), 2, 2),
}
