"""Readers of TFLite operators: matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.tflite_schema import (
    FullyConnectedOptions,
)

from ..tflite_file import Operator
from .common import Row, append, options_of

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder


def _fully_connected(builder: GraphBuilder, operator: Operator) -> None:
    weight, options = builder.constant(operator, 1, np.int8, rank=2), options_of(operator, FullyConnectedOptions)
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    if options.weights_format != 0:
        raise builder.refusal(operator, "shuffled weights", expected=0, got=options.weights_format)
    if out.shape != (1, weight.shape[0]):
        raise builder.refusal(operator, "output shape", expected=(1, weight.shape[0]), got=out.shape)
    if options.keep_num_dims and len(x.shape) != 2:
        builder.require_shape(operator, (*x.shape[:-1], weight.shape[0]))
    if len(x.shape) != 2:
        flat = builder.inner(x, "flat", (1, weight.shape[1]))
        builder.node(ops.Reshape(flat.shape), (x.name,), flat)
        x = flat
    quant = builder.file.quant(operator.inputs[1])
    axis = None if quant is not None and quant.axis is None else 0
    append(builder, operator, ops.FullyConnected, (x.name, *builder.weight_and_bias(operator, x, weight, axis)))


ROWS: dict[str, Row] = {"FULLY_CONNECTED": Row(_fully_connected, 2, 3)}
