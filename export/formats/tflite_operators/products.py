"""Readers of TFLite operators: matrix products."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor
from tinyscene.runtime.tflite_options import BatchMatMulOptions, FullyConnectedOptions

from ..tflite_file import Operator
from . import wide_weights
from .common import Row, append, options_of

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder


def _fully_connected(builder: GraphBuilder, operator: Operator) -> None:
    """Rows of the weight's length; without ``keep_num_dims`` they are those of the flattened input."""
    weight, options = builder.centred_weight(operator, rank=2), options_of(operator, FullyConnectedOptions)
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
    x, codes = wide_weights.dense(builder, operator, x, weight)
    append(builder, operator, ops.FullyConnected, (x.name, *builder.weight_and_bias(operator, x, codes, axis)))


def _batch_matmul(builder: GraphBuilder, operator: Operator) -> None:
    """An operand of fewer dimensions than the other gets axes of one element in front."""
    options, out = options_of(operator, BatchMatMulOptions), builder.activation(operator.output)
    operands = [builder.activation(index) for index in operator.inputs]
    rank = max(3, *(len(operand.shape) for operand in operands))
    if len(out.shape) != rank:
        raise builder.refusal(operator, "number of dimensions", expected=f"{rank} of the output", got=out.shape)
    names = tuple(_aligned(builder, operand, rank) for operand in operands)
    builder.node(ops.BatchMatMul(options.adj_x, options.adj_y), names, out)


def _aligned(builder: GraphBuilder, x: Tensor, rank: int) -> str:
    shape = ops.aligned(x.shape, rank)
    if shape == x.shape:
        return x.name
    view = builder.inner(x, "aligned", shape)
    if x.data is not None:
        return builder.add(replace(view, data=x.data.reshape(shape)))
    builder.node(ops.Reshape(shape), (x.name,), view)
    return view.name


ROWS: dict[str, Row] = {
    "BATCH_MATMUL": Row(_batch_matmul, 2, 2),
    "FULLY_CONNECTED": Row(_fully_connected, 2, 3),
}
