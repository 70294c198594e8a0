"""TFLite operators: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .. import ops
from ..graph import Node
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


def _transposed(w: TfliteWriter, node: Node) -> None:
    """A crop that is not SAME's is a SLICE of all windows."""
    op, (x, weight, _) = node.op, w.graph.ins(node)
    assert isinstance(op, ops.TransposeConv2D)
    out, codes = w.graph.out(node), schema.BuiltinOperator
    options = schema.TransposeConvOptionsT()
    options.strideH, options.strideW = op.stride
    options.fusedActivationFunction = activation_of(op.relu)
    whole = ops.transposed_size(op, x.shape, weight.shape[1:3])
    valid = op.crop == (0, 0) and whole == op.size
    same = op.crop == ops.same_crop(op.size, weight.shape[1:3], op.stride) and _has_same(op, x.shape, weight.shape)
    options.padding = schema.Padding.SAME if same and not valid else schema.Padding.VALID
    sliced, name = not (same or valid), f"{node.name}_whole" if not (same or valid) else node.name
    shape = (1, *whole, out.shape[3]) if sliced else out.shape
    stated = w.constant(f"{name}_shape", np.array(shape, np.int32))
    result = w.inner(name, shape, out.quant) if sliced else w.activation(out)
    inputs = [stated, w.inputs(node)[1], w.inputs(node)[0], w.inputs(node)[2]]
    w.operator(codes.TRANSPOSE_CONV, 4, inputs, result, options, schema.BuiltinOptions.TransposeConvOptions)
    if sliced:
        begin = w.constant(f"{node.name}_slice_begin", np.array([0, *op.crop, 0], np.int32))
        size = w.constant(f"{node.name}_slice_size", np.array(out.shape, np.int32))
        kind = schema.BuiltinOptions.SliceOptions
        w.operator(codes.SLICE, 2, [result, begin, size], w.activation(out), schema.SliceOptionsT(), kind)


def _has_same(op: ops.TransposeConv2D, x: ops.Shape, weight: ops.Shape) -> bool:
    """Whether a convolution of the output with padding SAME has the input's size, and the kernel covers the stride.

    Without that XNNPACK leaves the operator to a kernel of LiteRT with another rounding.
    """
    axes = zip(op.size, op.stride, x[1:3], weight[1:3], strict=True)
    return all(-(-size // s) == n and k >= s for size, s, n, k in axes)


def _pool2d(w: TfliteWriter, node: Node) -> None:
    op = node.op
    assert isinstance(op, ops.Pool2D)
    x, padding = w.padded(node, op.kernel, op.stride, op.pads)
    options = _window(schema.Pool2DOptionsT(), padding, op)
    options.filterHeight, options.filterWidth = op.kernel
    output = w.activation(w.graph.out(node))
    code = schema.BuiltinOperator.MAX_POOL_2D if op.kind == "max" else schema.BuiltinOperator.AVERAGE_POOL_2D
    w.operator(code, 2, [x], output, options, schema.BuiltinOptions.Pool2DOptions)


ROWS: dict[type[ops.Op], Emitter] = {
    ops.Conv2D: _conv2d,
    ops.DepthwiseConv2D: _depthwise,
    ops.TransposeConv2D: _transposed,
    ops.Pool2D: _pool2d,
}
