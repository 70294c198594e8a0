"""TFLite operators: reductions and softmax, which combine elements along axes."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .. import ops
from ..graph import Node
from .writer import Emitter, TfliteWriter, activation_of

_OPERATORS = {
    "mean": schema.BuiltinOperator.MEAN,
    "sum": schema.BuiltinOperator.SUM,
    "max": schema.BuiltinOperator.REDUCE_MAX,
    "min": schema.BuiltinOperator.REDUCE_MIN,
}


def _reduce(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Reduce)
    axes_index = w.constant(f"{node.name}_axes", np.array(node.op.axes, np.int32))
    options = schema.ReducerOptionsT()
    options.keepDims = node.op.keep_dims
    output = w.activation(w.graph.out(node))
    inputs = [*w.inputs(node), axes_index]
    w.operator(_OPERATORS[node.op.kind], 2, inputs, output, options, schema.BuiltinOptions.ReducerOptions)


def _softmax(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Softmax)
    options = schema.SoftmaxOptionsT()
    options.beta = node.op.beta
    output = w.activation(w.graph.out(node))
    w.operator(schema.BuiltinOperator.SOFTMAX, 2, w.inputs(node), output, options, schema.BuiltinOptions.SoftmaxOptions)


def _log_softmax(w: TfliteWriter, node: Node) -> None:
    output = w.activation(w.graph.out(node))
    kind = schema.BuiltinOptions.LogSoftmaxOptions
    w.operator(schema.BuiltinOperator.LOG_SOFTMAX, 2, w.inputs(node), output, schema.LogSoftmaxOptionsT(), kind)


def _l2_norm(w: TfliteWriter, node: Node) -> None:
    options = schema.L2NormOptionsT()
    options.fusedActivationFunction = activation_of(relu=False)
    output = w.activation(w.graph.out(node))
    kind = schema.BuiltinOptions.L2NormOptions
    w.operator(schema.BuiltinOperator.L2_NORMALIZATION, 2, w.inputs(node), output, options, kind)


ROWS: dict[type[ops.Op], Emitter] = {
    ops.L2Norm: _l2_norm,
    ops.LogSoftmax: _log_softmax,
    ops.Reduce: _reduce,
    ops.Softmax: _softmax,
}
