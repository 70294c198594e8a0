"""Readers of TFLite operators: matrix products."""

from __future__ import annotations

import math
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
    """Rows of the weight's length; without ``keep_num_dims`` they are those of the flattened input."""
    weight, options = builder.constant(operator, 1, np.int8, rank=2), options_of(operator, FullyConnectedOptions)
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    shape, (outputs, inputs) = builder.file.shape(operator.inputs[0]), weight.shape
    if options.weights_format != 0:
        raise builder.refusal(operator, "shuffled weights", expected=0, got=options.weights_format)
    if math.prod(shape) % inputs or (options.keep_num_dims and shape[-1] != inputs):
        raise builder.refusal(operator, "input shape", expected=f"rows of {inputs} elements", got=shape)
    rows = shape[:-1] if options.keep_num_dims else (math.prod(shape) // inputs,)
    builder.require_shape(operator, (*rows, outputs))
    if x.shape[:-1] != out.shape[:-1]:
        flat = builder.inner(x, "flat", (*out.shape[:-1], inputs))
        builder.node(ops.Reshape(flat.shape), (x.name,), flat)
        x = flat
    quant = builder.file.quant(operator.inputs[1])
    axis = None if quant is not None and quant.axis is None else 0
    append(builder, operator, ops.FullyConnected, (x.name, *builder.weight_and_bias(operator, x, weight, axis)))


ROWS: dict[str, Row] = {"FULLY_CONNECTED": Row(_fully_connected, 2, 3)}
