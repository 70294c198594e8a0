"""TFLite operators: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node

from .writer import Emitter, TfliteWriter, activation_of


def _window(options: Any, padding: int, op: ops.Conv2D | ops.DepthwiseConv2D | ops.Pool2D) -> Any:
    options.padding = padding
    options.strideH, options.strideW = op.stride
    if not isinstance(op, ops.Pool2D):
        options.dilationHFactor, options.dilationWFactor = op.dilation
    options.fusedActivationFunction = activation_of(ops.has_relu(op))
    return options


def _conv2d(w: TfliteWriter, node: Node) -> None:
    op, weight = node.op, w.graph.ins(node)[1]
    assert isinstance(op, ops.Conv2D)
    x, padding = w.padded(node, ops.spanned(weight.shape[1:3], op.dilation), op.stride, op.pads)
    options = _window(schema.Conv2DOptionsT(), padding, op)
    output = w.activation(w.graph.out(node))
    inputs = [x, *w.inputs(node)[1:]]
    w.operator(schema.BuiltinOperator.CONV_2D, 3, inputs, output, options, schema.BuiltinOptions.Conv2DOptions)


def _depthwise(w: TfliteWriter, node: Node) -> None:
    op, weight = node.op, w.graph.ins(node)[1]
    assert isinstance(op, ops.DepthwiseConv2D)
    x, padding = w.padded(node, ops.spanned(weight.shape[1:3], op.dilation), op.stride, op.pads)
    options = _window(schema.DepthwiseConv2DOptionsT(), padding, op)
    options.depthMultiplier = weight.shape[3] // w.graph.ins(node)[0].shape[3]
    output = w.activation(w.graph.out(node))
    inputs = [x, *w.inputs(node)[1:]]
    kind = schema.BuiltinOptions.DepthwiseConv2DOptions
    w.operator(schema.BuiltinOperator.DEPTHWISE_CONV_2D, 3, inputs, output, options, kind)


def _pool2d(w: TfliteWriter, node: Node) -> None:
    op = node.op
    assert isinstance(op, ops.Pool2D)
    x, padding = w.padded(node, op.kernel, op.stride, op.pads)
    options = _window(schema.Pool2DOptionsT(), padding, op)
    options.filterHeight, options.filterWidth = op.kernel
    output = w.activation(w.graph.out(node))
    code = schema.BuiltinOperator.MAX_POOL_2D if op.kind == "max" else schema.BuiltinOperator.AVERAGE_POOL_2D
    w.operator(code, 2, [x], output, options, schema.BuiltinOptions.Pool2DOptions)


ROWS: dict[type[ops.Op], Emitter] = {ops.Conv2D: _conv2d, ops.DepthwiseConv2D: _depthwise, ops.Pool2D: _pool2d}
