"""TFLite operators: operations that only move elements.

An op that keeps the order of the elements is a RESHAPE, as such files are read. A PAD in front of a window would be
read as the window's pads, so there a PADV2 is written, with the same code.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .. import ops
from ..graph import Node
from .writer import Emitter, TfliteWriter, activation_of

_WINDOWS = ops.Conv2D | ops.DepthwiseConv2D | ops.Pool2D


def _reshape(w: TfliteWriter, node: Node) -> None:
    shape = w.graph.out(node).shape
    shape_index = w.constant(f"{node.name}_shape", np.array(shape, np.int32))
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    output = w.activation(w.graph.out(node))
    inputs = [*w.inputs(node), shape_index]
    w.operator(schema.BuiltinOperator.RESHAPE, 1, inputs, output, options, schema.BuiltinOptions.ReshapeOptions)


def _transpose(w: TfliteWriter, node: Node) -> None:
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


def _pad(w: TfliteWriter, node: Node) -> None:
    op, (x,), codes = node.op, w.graph.ins(node), schema.BuiltinOperator
    assert isinstance(op, ops.Pad)
    if ops.keeps_order(op, x.shape):
        _reshape(w, node)
        return
    amounts = w.constant(f"{node.name}_amounts", np.array([op.before, op.after], np.int32).T)
    inputs, output = [*w.inputs(node), amounts], w.activation(w.graph.out(node))
    read_by_window = any(node.output in other.inputs and isinstance(other.op, _WINDOWS) for other in w.graph.nodes)
    if op.code == x.quant.zero_point and not read_by_window:
        w.operator(codes.PAD, 2, inputs, output, schema.PadOptionsT(), schema.BuiltinOptions.PadOptions)
        return
    code = w.constant(f"{node.name}_code", np.array(op.code, np.int8), x.quant)
    w.operator(codes.PADV2, 2, [*inputs, code], output, schema.PadV2OptionsT(), schema.BuiltinOptions.PadV2Options)


def _slice(w: TfliteWriter, node: Node) -> None:
    """SLICE, or STRIDED_SLICE where a step is not 1: fewer engines run that with many dimensions."""
    op, (x,), codes, kinds = node.op, w.graph.ins(node), schema.BuiltinOperator, schema.BuiltinOptions
    assert isinstance(op, ops.Slice)
    if ops.keeps_order(op, x.shape):
        _reshape(w, node)
        return
    inputs = [*w.inputs(node), w.constant(f"{node.name}_begin", np.array(op.begin, np.int32))]
    if set(op.step) == {1}:
        inputs.append(w.constant(f"{node.name}_size", np.array(op.size, np.int32)))
        w.operator(codes.SLICE, 2, inputs, w.activation(w.graph.out(node)), schema.SliceOptionsT(), kinds.SliceOptions)
        return
    end = [begin + size * step for begin, size, step in zip(op.begin, op.size, op.step, strict=True)]
    options = schema.StridedSliceOptionsT()
    options.endMask = sum(1 << axis for axis, place in enumerate(end) if place < 0)  # a negative end counts from behind
    options.beginMask = options.ellipsisMask = options.newAxisMask = options.shrinkAxisMask = 0
    inputs.append(w.constant(f"{node.name}_end", np.array(end, np.int32)))
    inputs.append(w.constant(f"{node.name}_step", np.array(op.step, np.int32)))
    output = w.activation(w.graph.out(node))
    w.operator(codes.STRIDED_SLICE, 2, inputs, output, options, kinds.StridedSliceOptions)


def _resize(w: TfliteWriter, node: Node) -> None:
    op = node.op
    assert isinstance(op, ops.Resize)
    name = {"bilinear": "ResizeBilinear", "nearest": "ResizeNearestNeighbor"}[op.kind]
    options = getattr(schema, f"{name}OptionsT")()
    options.alignCorners, options.halfPixelCenters = op.grid == "align_corners", op.grid == "half_pixel"
    inputs = [*w.inputs(node), w.constant(f"{node.name}_size", np.array(op.size, np.int32))]
    codes, kind = schema.BuiltinOperator, getattr(schema.BuiltinOptions, f"{name}Options")
    code = codes.RESIZE_BILINEAR if op.kind == "bilinear" else codes.RESIZE_NEAREST_NEIGHBOR
    w.operator(code, 3, inputs, w.activation(w.graph.out(node)), options, kind)


def _concat(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Concat)
    options = schema.ConcatenationOptionsT()
    options.axis = node.op.axis
    options.fusedActivationFunction = activation_of(relu=False)
    output = w.activation(w.graph.out(node))
    kind = schema.BuiltinOptions.ConcatenationOptions
    w.operator(schema.BuiltinOperator.CONCATENATION, 2, w.inputs(node), output, options, kind)


ROWS: dict[type[ops.Op], Emitter] = {
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Pad: _pad,
    ops.Slice: _slice,
    ops.Concat: _concat,
    ops.Resize: _resize,
}
