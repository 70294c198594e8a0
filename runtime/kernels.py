"""Reference kernels: one NumPy function per op, exact under both rounding rules.

Each takes the node's input arrays (any batch) and returns the int8 output. Convolutions run as matrix products in the
smallest float type in which every partial sum is an exact integer. They are not optimised further; optimised code
elsewhere is compared with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import ops
from .arith import (
    ADD_HEADROOM_BITS,
    Rounding,
    add_double,
    add_single,
    clamp_range,
    conv_rescale,
    mean_double,
    mean_single,
    requantise,
    rescale_double,
    rsqrt_table,
    square_table,
    sub_single,
    weight_rescale,
)
from .arrays import I8, I64
from .graph import Graph, Node, accumulator_bounds
from .lookup_tables import exponentials_double, exponentials_single, function_table, softmax_double, softmax_single

Arrays = tuple[npt.NDArray[Any], ...]
Kernel = Callable[[Graph, Node, Arrays, Rounding], I8]

_EXACT_F32 = 2**24  # integers below this are exact in float32, and so are sums that stay below it


def _centred(x: I8, zero_point: int, pads: ops.Pads, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Codes minus zero point, padded with zeros (the code of real 0)."""
    values = x.astype(dtype)
    if zero_point:
        values -= zero_point
    if any(pads):
        values = np.pad(values, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)))
    return values


def _taps(x: npt.NDArray[Any], k_h: int, k_w: int, stride: tuple[int, int], out_hw: tuple[int, ...]) -> Any:
    """Yield (row, column, strided view of x) for every kernel tap."""
    for i in range(k_h):
        for j in range(k_w):
            rows = slice(i, i + (out_hw[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(j, j + (out_hw[1] - 1) * stride[1] + 1, stride[1])
            yield i, j, x[:, rows, columns, :]


def conv2d_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """bias + sum over taps of (x - zero_point) * weight, int64 (N, H, W, O); fits int32 by Graph.check."""
    op, (x_t, weight_t, bias_t) = node.op, graph.ins(node)
    assert isinstance(op, ops.Conv2D)
    x, weight, bias = arrays
    dtype = np.float32 if accumulator_bounds(x_t, weight_t, bias_t, 0).max() < _EXACT_F32 else np.float64
    out_c, k_h, k_w, in_c = weight.shape
    values = _centred(x, x_t.quant.zero_point, op.pads, dtype)
    out_hw = ops.window_output(x.shape[1:3], (k_h, k_w), op.stride, op.pads)
    columns = [tap for _, _, tap in _taps(values, k_h, k_w, op.stride, out_hw)]
    patches = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=3)
    flat = np.ascontiguousarray(patches).reshape(-1, k_h * k_w * in_c) @ weight.reshape(out_c, -1).T.astype(dtype)
    acc: I64 = flat.reshape(x.shape[0], *out_hw, out_c).astype(np.int64) + bias
    return acc


def depthwise_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """As conv2d_accumulator, one weight per channel and tap; input by input, so that one fits the cache."""
    op, (x_t, _, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    x, weight, bias = arrays
    _, k_h, k_w, channels = weight.shape
    dtype = np.float32 if 255 * 127 * k_h * k_w < _EXACT_F32 else np.float64
    values, taps = _centred(x, x_t.quant.zero_point, op.pads, dtype), weight[0].astype(dtype)
    out_hw = ops.window_output(x.shape[1:3], (k_h, k_w), op.stride, op.pads)
    acc = np.empty((len(x), *out_hw, channels), np.int64)
    total, product = np.empty((2, 1, *out_hw, channels), dtype)
    for n in range(len(x)):
        total[:] = 0
        for i, j, tap in _taps(values[n : n + 1], k_h, k_w, op.stride, out_hw):
            total += np.multiply(tap, taps[i, j], out=product)
        np.add(total[0], bias, out=acc[n], casting="unsafe")
    return acc


def conv2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return _requantised(graph, node, conv2d_accumulator(graph, node, arrays), rounding)


def depthwise_conv2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return _requantised(graph, node, depthwise_accumulator(graph, node, arrays), rounding)


def fully_connected_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """As conv2d_accumulator, int64 (N, O)."""
    x, weight, bias = arrays
    x_t, weight_t, bias_t = graph.ins(node)
    dtype = np.float32 if accumulator_bounds(x_t, weight_t, bias_t, 0).max() < _EXACT_F32 else np.float64
    acc: I64 = (_centred(x, x_t.quant.zero_point, (0, 0, 0, 0), dtype) @ weight.T.astype(dtype)).astype(np.int64) + bias
    return acc


def fully_connected(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return _requantised(graph, node, fully_connected_accumulator(graph, node, arrays), rounding)


def _requantised(graph: Graph, node: Node, acc: I64, rounding: Rounding) -> I8:
    """Accumulators of convolutions and products times s_a * s_b / s_out, as output codes."""
    a, b, *_ = graph.ins(node)
    out = graph.out(node).quant
    relu = ops.has_relu(node.op)
    one_product = isinstance(node.op, ops.FullyConnected)
    rescale = weight_rescale(a.quant, b.quant, out) if one_product else conv_rescale(a.quant, b.quant, out)
    return requantise(acc, rescale, out, relu=relu, rounding=rounding)


def mul(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    assert isinstance(node.op, ops.Mul)
    a, b = graph.ins(node)
    if node.inputs[0] == node.inputs[1]:
        table = square_table(a.quant, graph.out(node).quant, relu=node.op.relu, rounding=rounding)
        return table[arrays[0].astype(np.int64) + 128]
    product = (arrays[0].astype(np.int64) - a.quant.zero_point) * (arrays[1].astype(np.int64) - b.quant.zero_point)
    return _requantised(graph, node, product, rounding)


def add(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """A sum, and a difference, which is a sum with the second factor negative."""
    assert isinstance(node.op, ops.Add | ops.Sub)
    (a, b), out = (t.quant for t in graph.ins(node)), graph.out(node).quant
    x, y = arrays[0].astype(np.int64), arrays[1].astype(np.int64)
    minus = isinstance(node.op, ops.Sub)
    if rounding == "double":
        d = add_double(a, b, out)
        scaled_x = rescale_double((x - a.zero_point) << ADD_HEADROOM_BITS, _i64(d.multiplier_a), _i64(d.shift_a))
        scaled_y = rescale_double((y - b.zero_point) << ADD_HEADROOM_BITS, _i64(d.multiplier_b), _i64(d.shift_b))
        total = scaled_x - scaled_y if minus else scaled_x + scaled_y
        codes = rescale_double(total, _i64(d.multiplier_out), _i64(d.shift_out))
    else:
        s = sub_single(a, b, out) if minus else add_single(a, b, out)
        codes = (s.bias + x * s.multiplier_a + y * s.multiplier_b) >> s.shift
    return np.clip(codes + out.zero_point, *clamp_range(out, node.op.relu)).astype(np.int8)


def mean(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    op = node.op
    assert isinstance(op, ops.Mean)
    x, out = graph.ins(node)[0].quant, graph.out(node).quant
    axes = (1, 2) if op.over == "space" else (3,)
    count = int(np.prod([arrays[0].shape[a] for a in axes]))
    total = arrays[0].sum(axis=axes, keepdims=op.keep_dims, dtype=np.int64)
    if rounding == "single":
        return mean_single(x, out, count).codes(total)
    return requantise(total - count * x.zero_point, mean_double(x, out, count), out, relu=False, rounding=rounding)


def rsqrt(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    table = rsqrt_table(graph.ins(node)[0].quant, graph.out(node).quant)
    codes: I8 = table[arrays[0].astype(np.int64) + 128]
    return codes


def pool2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """The same under both rules: the average of the codes, zero point included, is rounded half away from zero."""
    op, (x,) = node.op, arrays
    assert isinstance(op, ops.Pool2D)
    top, left, bottom, right = op.pads
    margin = ((0, 0), (top, bottom), (left, right), (0, 0))
    inside = np.pad(np.ones_like(x[:1], np.int64), margin)
    values = np.pad(x.astype(np.int64), margin, constant_values=-128 if op.kind == "max" else 0)
    out_hw = ops.window_output(x.shape[1:3], op.kernel, op.stride, op.pads)
    windows = [tap for _, _, tap in _taps(values, *op.kernel, op.stride, out_hw)]
    if op.kind == "max":
        largest: I8 = np.maximum.reduce(windows).astype(np.int8)
        return largest
    total = np.add.reduce(windows)
    count = np.add.reduce([tap for _, _, tap in _taps(inside, *op.kernel, op.stride, out_hw)])
    average = (np.abs(total) + count // 2) // count
    codes: I8 = np.where(total > 0, average, -average).astype(np.int8)
    return codes


def lookup(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    assert isinstance(node.op, ops.Lookup)
    table = function_table(node.op.function, graph.ins(node)[0].quant, graph.out(node).quant, rounding)
    codes: I8 = table[arrays[0].astype(np.int64) + 128]
    return codes


def softmax(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    x, quant = arrays[0].astype(np.int64), graph.ins(node)[0].quant
    distances = (x.max(axis=-1, keepdims=True) - x).reshape(-1, x.shape[-1])
    if rounding == "double":
        return softmax_double(distances, exponentials_double(quant)).reshape(x.shape)
    return softmax_single(distances, exponentials_single(quant)).reshape(x.shape)


def reshape(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    codes: I8 = arrays[0].reshape(len(arrays[0]), *graph.out(node).shape[1:])
    return codes


def concat(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """A constant part is repeated for each entry of the batch."""
    assert isinstance(node.op, ops.Concat)
    batch = max(len(array) for array in arrays)
    parts = [np.broadcast_to(array, (batch, *array.shape[1:])) for array in arrays]
    codes: I8 = np.concatenate(parts, axis=node.op.axis)
    return codes


def _i64(value: int) -> I64:
    return np.asarray(value, np.int64)


KERNELS: dict[type, Kernel] = {
    ops.Conv2D: conv2d,
    ops.DepthwiseConv2D: depthwise_conv2d,
    ops.FullyConnected: fully_connected,
    ops.Add: add,
    ops.Sub: add,
    ops.Mul: mul,
    ops.Mean: mean,
    ops.Pool2D: pool2d,
    ops.Rsqrt: rsqrt,
    ops.Lookup: lookup,
    ops.Softmax: softmax,
    ops.Reshape: reshape,
    ops.Concat: concat,
}
