"""Reference kernels: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ops
from ..accumulators import accumulator_bounds
from ..arith import (
    Rounding,
)
from ..arrays import I8, I64
from ..graph import Graph, Node
from .common import EXACT_F32, Arrays, Kernel, centred, requantised

Windowed = ops.Conv2D | ops.DepthwiseConv2D | ops.Pool2D


def _taps(x: npt.NDArray[Any], op: Windowed, kernel: tuple[int, int], out_hw: tuple[int, ...]) -> Any:
    """Yield (row, column, strided view of x) for every kernel tap."""
    dilation = (1, 1) if isinstance(op, ops.Pool2D) else op.dilation
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + (out_hw[0] - 1) * op.stride[0] + 1, op.stride[0])
            columns = slice(left, left + (out_hw[1] - 1) * op.stride[1] + 1, op.stride[1])
            yield i, j, x[:, rows, columns, :]


def conv2d_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """bias + sum over taps of (x - zero_point) * weight, int64 (N, H, W, O)."""
    op, (x_t, weight_t, bias_t) = node.op, graph.ins(node)
    assert isinstance(op, ops.Conv2D)
    x, weight, bias = arrays
    dtype = np.float32 if accumulator_bounds(x_t, weight_t, bias_t, 0).max() < EXACT_F32 else np.float64
    out_c, k_h, k_w, in_c = weight.shape
    values = centred(x, x_t.quant.zero_point, op.pads, dtype)
    out_hw = ops.window_output(x.shape[1:3], ops.spanned((k_h, k_w), op.dilation), op.stride, op.pads)
    taps = [tap for _, _, tap in _taps(values, op, (k_h, k_w), out_hw)]
    patches = taps[0] if len(taps) == 1 else np.stack(taps, axis=3)
    by_group = patches.reshape(-1, k_h * k_w, op.groups, in_c).transpose(2, 0, 1, 3)
    rows = by_group.reshape(op.groups, -1, k_h * k_w * in_c)
    product = rows @ weight.reshape(op.groups, out_c // op.groups, -1).transpose(0, 2, 1).astype(dtype)
    acc: I64 = product.transpose(1, 0, 2).reshape(x.shape[0], *out_hw, out_c).astype(np.int64) + bias
    return acc


def depthwise_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """As conv2d_accumulator, one weight per channel and tap; input by input, so that one fits the cache."""
    op, (x_t, _, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    x, weight, bias = arrays
    _, k_h, k_w, channels = weight.shape
    dtype = np.float32 if 255 * 128 * k_h * k_w < EXACT_F32 else np.float64
    values, taps = centred(x, x_t.quant.zero_point, op.pads, dtype), weight[0].astype(dtype)
    if channels > x.shape[3]:
        values = np.repeat(values, channels // x.shape[3], axis=3)
    out_hw = ops.window_output(x.shape[1:3], ops.spanned((k_h, k_w), op.dilation), op.stride, op.pads)
    acc = np.empty((len(x), *out_hw, channels), np.int64)
    total, product = np.empty((2, 1, *out_hw, channels), dtype)
    for n in range(len(x)):
        total[:] = 0
        for i, j, tap in _taps(values[n : n + 1], op, (k_h, k_w), out_hw):
            total += np.multiply(tap, taps[i, j], out=product)
        np.add(total[0], bias, out=acc[n], casting="unsafe")
    return acc


def transposed_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """As conv2d_accumulator: the products of each tap are added where its windows lie in the output."""
    op, (x_t, weight_t, bias_t) = node.op, graph.ins(node)
    assert isinstance(op, ops.TransposeConv2D)
    x, weight, bias = arrays
    dtype = np.float32 if accumulator_bounds(x_t, weight_t, bias_t, 0).max() < EXACT_F32 else np.float64
    out_c, k_h, k_w, _ = weight.shape
    values = centred(x, x_t.quant.zero_point, (0, 0, 0, 0), dtype)
    total = np.zeros((len(x), *ops.transposed_size(op, x.shape, (k_h, k_w)), out_c), dtype)
    spans = [(n - 1) * s + 1 for n, s in zip(x.shape[1:3], op.stride, strict=True)]
    for i in range(k_h):
        for j in range(k_w):
            rows, columns = slice(i, i + spans[0], op.stride[0]), slice(j, j + spans[1], op.stride[1])
            total[:, rows, columns] += values @ weight[:, i, j].T.astype(dtype)
    (top, left), (height, width) = op.crop, op.size
    acc: I64 = total[:, top : top + height, left : left + width].astype(np.int64) + bias
    return acc


def conv2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return requantised(graph, node, conv2d_accumulator(graph, node, arrays), rounding)


def depthwise_conv2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return requantised(graph, node, depthwise_accumulator(graph, node, arrays), rounding)


def transpose_conv2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return requantised(graph, node, transposed_accumulator(graph, node, arrays), rounding)


def pool2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """The same under both rules: the average of the codes, zero point included, is rounded half away from zero."""
    op, (x,) = node.op, arrays
    assert isinstance(op, ops.Pool2D)
    top, left, bottom, right = op.pads
    margin = ((0, 0), (top, bottom), (left, right), (0, 0))
    inside = np.pad(np.ones_like(x[:1], np.int64), margin)
    values = np.pad(x.astype(np.int64), margin, constant_values=-128 if op.kind == "max" else 0)
    out_hw = ops.window_output(x.shape[1:3], op.kernel, op.stride, op.pads)
    windows = [tap for _, _, tap in _taps(values, op, op.kernel, out_hw)]
    if op.kind == "max":
        largest: I8 = np.maximum.reduce(windows).astype(np.int8)
        return largest
    total = np.add.reduce(windows)
    count = np.add.reduce([tap for _, _, tap in _taps(inside, op, op.kernel, out_hw)])
    average = (np.abs(total) + count // 2) // count
    codes: I8 = np.where(total > 0, average, -average).astype(np.int8)
    return codes


ROWS: dict[type, Kernel] = {
    ops.Conv2D: conv2d,
    ops.DepthwiseConv2D: depthwise_conv2d,
    ops.TransposeConv2D: transpose_conv2d,
    ops.Pool2D: pool2d,
}
