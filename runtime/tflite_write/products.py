"""TFLite operators: matrix products."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from .. import ops
from ..graph import Node
from .writer import Emitter, TfliteWriter, activation_of


def _fully_connected(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.FullyConnected)
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = activation_of(node.op.relu)
    options.weightsFormat = 0
    options.keepNumDims = len(w.graph.out(node).shape) > 2
    output = w.activation(w.graph.out(node))
    kind = schema.BuiltinOptions.FullyConnectedOptions
    w.operator(schema.BuiltinOperator.FULLY_CONNECTED, 4, w.inputs(node), output, options, kind)


def _batch_matmul(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.BatchMatMul)
    options = schema.BatchMatMulOptionsT()
    options.adjX, options.adjY = node.op.adj_x, node.op.adj_y
    options.asymmetricQuantizeInputs = False
    output = w.activation(w.graph.out(node))
    w.operator(
        schema.BuiltinOperator.BATCH_MATMUL,
        2,
        w.inputs(node),
        output,
        options,
        schema.BuiltinOptions.BatchMatMulOptions,
    )


ROWS: dict[type[ops.Op], Emitter] = {ops.FullyConnected: _fully_connected, ops.BatchMatMul: _batch_matmul}
