"""TFLite operators: operations that only move elements."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node

from .writer import Emitter, TfliteWriter, activation_of


def _reshape(w: TfliteWriter, node: Node) -> None:
    shape = w.graph.out(node).shape
    shape_index = w.constant(f"{node.name}_shape", np.array(shape, np.int32))
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    output = w.activation(w.graph.out(node))
    inputs = [*w.inputs(node), shape_index]
    w.operator(schema.BuiltinOperator.RESHAPE, 1, inputs, output, options, schema.BuiltinOptions.ReshapeOptions)


def _transpose(w: TfliteWriter, node: Node) -> None:
    """A RESHAPE where no element moves, as such files are read."""
    op, (x,) = node.op, w.graph.ins(node)
    assert isinstance(op, ops.Transpose)
    if ops.keeps_order(op, x.shape):
        _reshape(w, node)
        return
    order = w.constant(f"{node.name}_order", np.array(op.order, np.int32))
    output, kind = w.activation(w.graph.out(node)), schema.BuiltinOptions.TransposeOptions
    version = {5: 4, 6: 6}.get(len(op.order), 2)
    inputs = [*w.inputs(node), order]
    w.operator(schema.BuiltinOperator.TRANSPOSE, version, inputs, output, schema.TransposeOptionsT(), kind)


def _concat(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Concat)
    options = schema.ConcatenationOptionsT()
    options.axis = node.op.axis
    options.fusedActivationFunction = activation_of(relu=False)
    output = w.activation(w.graph.out(node))
    kind = schema.BuiltinOptions.ConcatenationOptions
    w.operator(schema.BuiltinOperator.CONCATENATION, 2, w.inputs(node), output, options, kind)


ROWS: dict[type[ops.Op], Emitter] = {ops.Reshape: _reshape, ops.Transpose: _transpose, ops.Concat: _concat}
