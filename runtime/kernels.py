"""One NumPy function per op, exact under both rounding rules: what the integer graph means.

Each takes the node's input arrays (any batch) and returns the int8 output. Convolutions run as matrix products in the
smallest float type in which every partial sum is an exact integer. Nothing here is tuned beyond that; fast code
elsewhere is compared with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .arith import (
    ADD_HEADROOM_BITS,
    I8,
    I64,
    Rounding,
    add_double,
    add_single,
    clamp_range,
    conv_rescale,
    mean_rescale,
    requantise,
    rescale_double,
    rsqrt_table,
)
from .graph import Add, Conv2D, DepthwiseConv2D, Graph, Mean, Mul, Node, Pads, Rsqrt, accumulator_bound, window_output

Arrays = tuple[npt.NDArray[Any], ...]
Kernel = Callable[[Graph, Node, Arrays, Rounding], I8]

_EXACT_F32 = 2**24  # integers below this are exact in float32, and so are sums that stay below it


def _centred(x: I8, zero_point: int, pads: Pads, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Codes minus zero point, padded with zeros (the code of real 0)."""
    values = x.astype(dtype)
    if zero_point:
        values -= zero_point
    if any(pads):
        values = np.pad(values, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)))
    return values


def _taps(x: npt.NDArray[Any], k_h: int, k_w: int, stride: tuple[int, int], out_hw: tuple[int, ...]) -> Any:
    """Yield (row, column, the strided view of x that kernel tap meets)."""
    for i in range(k_h):
        for j in range(k_w):
            rows = slice(i, i + (out_hw[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(j, j + (out_hw[1] - 1) * stride[1] + 1, stride[1])
            yield i, j, x[:, rows, columns, :]


def conv2d_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """bias + sum over taps of (x - zero_point) * weight, int64 (N, H, W, O); fits int32 by Graph.check."""
    op, (x_t, weight_t, bias_t) = node.op, graph.ins(node)
    assert isinstance(op, Conv2D)
    x, weight, bias = arrays
    dtype = np.float32 if accumulator_bound(x_t, weight_t, bias_t, 0) < _EXACT_F32 else np.float64
    out_c, k_h, k_w, in_c = weight.shape
    values = _centred(x, x_t.quant.zero_point, op.pads, dtype)
    out_hw = window_output(x.shape[1:3], (k_h, k_w), op.stride, op.pads)
    columns = [tap for _, _, tap in _taps(values, k_h, k_w, op.stride, out_hw)]
    patches = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=3)
    flat = np.ascontiguousarray(patches).reshape(-1, k_h * k_w * in_c) @ weight.reshape(out_c, -1).T.astype(dtype)
    acc: I64 = flat.reshape(x.shape[0], *out_hw, out_c).astype(np.int64) + bias
    return acc


def depthwise_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """As conv2d_accumulator, one weight per channel and tap."""
    op, (x_t, _, _) = node.op, graph.ins(node)
    assert isinstance(op, DepthwiseConv2D)
    x, weight, bias = arrays
    _, k_h, k_w, channels = weight.shape
    values = _centred(x, x_t.quant.zero_point, op.pads, np.int32)
    out_hw = window_output(x.shape[1:3], (k_h, k_w), op.stride, op.pads)
    acc = np.broadcast_to(bias, (x.shape[0], *out_hw, channels)).astype(np.int32)
    for i, j, tap in _taps(values, k_h, k_w, op.stride, out_hw):
        acc += tap * weight[0, i, j].astype(np.int32)
    return acc.astype(np.int64)


def conv2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return _requantised(graph, node, conv2d_accumulator(graph, node, arrays), rounding)


def depthwise_conv2d(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return _requantised(graph, node, depthwise_accumulator(graph, node, arrays), rounding)


def _requantised(graph: Graph, node: Node, acc: I64, rounding: Rounding) -> I8:
    """The common end of convolutions and products: by s_a * s_b / s_out to the output's codes."""
    a, b, *_ = graph.ins(node)
    out = graph.out(node).quant
    relu = bool(getattr(node.op, "relu", False))
    return requantise(acc, conv_rescale(a.quant, b.quant, out), out, relu=relu, rounding=rounding)


def mul(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    a, b = graph.ins(node)
    product = (arrays[0].astype(np.int64) - a.quant.zero_point) * (arrays[1].astype(np.int64) - b.quant.zero_point)
    return _requantised(graph, node, product, rounding)


def add(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    assert isinstance(node.op, Add)
    (a, b), out = (t.quant for t in graph.ins(node)), graph.out(node).quant
    x, y = arrays[0].astype(np.int64), arrays[1].astype(np.int64)
    if rounding == "double":
        d = add_double(a, b, out)
        scaled_x = rescale_double((x - a.zero_point) << ADD_HEADROOM_BITS, _i64(d.multiplier_a), _i64(d.shift_a))
        scaled_y = rescale_double((y - b.zero_point) << ADD_HEADROOM_BITS, _i64(d.multiplier_b), _i64(d.shift_b))
        codes = rescale_double(scaled_x + scaled_y, _i64(d.multiplier_out), _i64(d.shift_out))
    else:
        s = add_single(a, b, out)
        codes = (s.bias + x * s.multiplier_a + y * s.multiplier_b) >> s.shift
    return np.clip(codes + out.zero_point, *clamp_range(out, node.op.relu)).astype(np.int8)


def mean(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    op = node.op
    assert isinstance(op, Mean)
    x, out = graph.ins(node)[0].quant, graph.out(node).quant
    axes = (1, 2) if op.over == "space" else (3,)
    count = int(np.prod([arrays[0].shape[a] for a in axes]))
    total = (arrays[0].astype(np.int64) - x.zero_point).sum(axis=axes, keepdims=op.keep_dims)
    return requantise(total, mean_rescale(x, out, count), out, relu=False, rounding=rounding)


def rsqrt(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    table = rsqrt_table(graph.ins(node)[0].quant, graph.out(node).quant)
    codes: I8 = table[arrays[0].astype(np.int64) + 128]
    return codes


def _i64(value: int) -> I64:
    return np.asarray(value, np.int64)


KERNELS: dict[type, Kernel] = {
    Conv2D: conv2d,
    DepthwiseConv2D: depthwise_conv2d,
    Add: add,
    Mul: mul,
    Mean: mean,
    Rsqrt: rsqrt,
}
