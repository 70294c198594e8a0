"""A second implementation of the integer graph, one element at a time, in unbounded integers and fractions.

Written from the rules as they are stated, without NumPy arithmetic: floor, round half up, round half away from zero,
round half to even, and float32 as a rounding of fractions. Slow on purpose.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

from tests.runtime.oracle_lstm import lstm
from tests.runtime.oracle_movement import _concat, _pad, _reshape, _resize, _slice, _transpose
from tests.runtime.oracle_rounding import (
    fixed_point,
    float32,
    half_away,
    half_even,
    half_up,
    rescale_double,
    saturate,
)
from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node, Quant


def rescale_single(acc: int, factor: Fraction) -> int:
    """The float32 product of float32 values, rounded half to even."""
    return half_even(float32(float32(Fraction(acc)) * factor))


def _f32(x: float) -> Fraction:
    return float32(Fraction(x))


def _requantised(acc: int, s_a: float, s_b: float, out: Quant, rounding: str) -> int:
    if rounding == "double":
        return rescale_double(acc, *fixed_point(s_a * s_b / out.scale[0])) + out.zero_point
    factor = float32(float32(_f32(s_a) * _f32(s_b)) / _f32(out.scale[0]))
    return rescale_single(acc, factor) + out.zero_point


def _conv(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    x_t, w_t, _ = graph.ins(node)
    x, weight, bias = arrays
    n, row, column, channel = at
    op, depthwise = node.op, isinstance(node.op, ops.DepthwiseConv2D)
    k_h, k_w = weight.shape[1:3]
    acc = int(bias[channel])
    for i, j in itertools.product(range(k_h), range(k_w)):
        y = row * op.stride[0] + i * op.dilation[0] - op.pads[0]
        z = column * op.stride[1] + j * op.dilation[1] - op.pads[1]
        if not (0 <= y < x.shape[1] and 0 <= z < x.shape[2]):
            continue
        groups = x.shape[3] if depthwise else op.groups
        inputs, outputs = x.shape[3] // groups, len(bias) // groups
        for c in range(inputs):
            w = weight[0, i, j, channel] if depthwise else weight[channel, i, j, c]
            acc += (int(x[n, y, z, channel // outputs * inputs + c]) - x_t.quant.zero_point) * int(w)
    return _requantised(acc, x_t.quant.scale[0], w_t.quant.scale[channel], graph.out(node).quant, rounding)


def _operand(graph: Graph, node: Node, arrays, at, which: int) -> int:
    """The code that meets the output's element; missing axes are in front, of size 1."""
    array, constant = arrays[which], graph.ins(node)[which].data is not None
    own = at[len(at) - array.ndim :]
    index = [0 if size == 1 else i for i, size in zip(own, array.shape, strict=True)]
    if not constant:
        index[0] = at[0]  # the batch
    return int(array[tuple(index)])


def _transposed(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    """Every input and tap that lead to the output element."""
    (x_t, w_t, _), (x, weight, bias), (n, row, column, channel) = graph.ins(node), arrays, at
    op, acc = node.op, int(bias[at[3]])
    for y, z in itertools.product(range(x.shape[1]), range(x.shape[2])):
        i, j = row + op.crop[0] - y * op.stride[0], column + op.crop[1] - z * op.stride[1]
        if 0 <= i < weight.shape[1] and 0 <= j < weight.shape[2]:
            pairs = zip(x[n, y, z], weight[channel, i, j], strict=True)
            acc += sum((int(code) - x_t.quant.zero_point) * int(w) for code, w in pairs)
    return _requantised(acc, x_t.quant.scale[0], w_t.quant.scale[channel], graph.out(node).quant, rounding)


def _mul(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    a, b = (t.quant for t in graph.ins(node))
    x, y = _operand(graph, node, arrays, at, 0), _operand(graph, node, arrays, at, 1)
    product = (x - a.zero_point) * (y - b.zero_point)
    out = graph.out(node).quant
    if rounding == "double":
        return _requantised(product, a.scale[0], b.scale[0], out, rounding)
    if node.inputs[0] == node.inputs[1]:  # the real value, squared, times the inverse of the scale
        real = float32((x - a.zero_point) * _f32(a.scale[0]))
        scaled = float32(float32(real * real) * float32(1 / _f32(out.scale[0])))
        return half_even(float32(scaled + out.zero_point))
    factor = float32(float32(_f32(a.scale[0]) * _f32(b.scale[0])) / _f32(out.scale[0]))
    return rescale_single(product, factor) + out.zero_point


def _add(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    (a, b), out = (t.quant for t in graph.ins(node)), graph.out(node).quant
    x, y = _operand(graph, node, arrays, at, 0), _operand(graph, node, arrays, at, 1)
    sign = -1 if isinstance(node.op, ops.Sub) else 1
    if rounding == "double":
        common = 2.0 * max(a.scale[0], b.scale[0])
        terms = [
            rescale_double((code - q.zero_point) * 2**20, *fixed_point(q.scale[0] / common))
            for code, q in ((x, a), (y, b))
        ]
        return (
            rescale_double(terms[0] + sign * terms[1], *fixed_point(common / (2**20 * out.scale[0]))) + out.zero_point
        )
    factors = [float32(_f32(q.scale[0]) / _f32(out.scale[0])) for q in (a, b)]
    bits = 0  # the larger factor gets 21 significant bits
    while max(factors) * Fraction(2) ** bits < 2**20:
        bits += 1
    while max(factors) * Fraction(2) ** bits >= 2**21:
        bits -= 1
    m_a, m_b = (half_even(f * Fraction(2) ** bits) for f in factors)
    total = m_a * (x - a.zero_point) + sign * m_b * (y - b.zero_point)
    return half_up(Fraction(total) / Fraction(2) ** bits) + out.zero_point


def _reduce(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    op, x, x_q, out = node.op, arrays[0], graph.ins(node)[0].quant, graph.out(node).quant
    places = iter(at)
    index = [next(places) if op.keep_dims or axis not in op.axes else 0 for axis in range(x.ndim)]
    places = [slice(None) if axis in op.axes else place for axis, place in enumerate(index)]
    values = [int(v) for v in x[tuple(places)].reshape(-1)]
    if op.kind in ("max", "min"):
        return max(values) if op.kind == "max" else min(values)
    total = sum(v - x_q.zero_point for v in values)
    if rounding == "single":
        inverse = float32(Fraction(1, len(values) if op.kind == "mean" else 1))
        factor = float32(float32(_f32(x_q.scale[0]) / _f32(out.scale[0])) * inverse)
        offset = float32(out.zero_point - float32(float32(Fraction(x_q.zero_point * len(values))) * factor))
        return half_even(float32(float32(float32(Fraction(sum(values))) * factor) + offset))
    m, shift = fixed_point(x_q.scale[0] / out.scale[0])
    if op.kind == "sum":
        return rescale_double(total, m, shift) + out.zero_point
    widen = min(len(values).bit_length() - 1, 32, 31 + shift)
    return rescale_double(total, (m << widen) // len(values), shift - widen) + out.zero_point


def _rsqrt(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    x, out = graph.ins(node)[0].quant, graph.out(node).quant
    value = int(arrays[0][at]) - x.zero_point
    if value <= 0:
        return 127
    root = half_up(Fraction(math.isqrt(2**140 // value), 2**50))  # 2^20 / sqrt(value) with 50 fractional bits
    root -= value in (2, 8, 131)  # where TFLite's iteration is one too small
    m, shift = fixed_point(1.0 / (math.sqrt(x.scale[0]) * out.scale[0]))
    return rescale_double(root, m, shift - 20) + out.zero_point


def _fully_connected(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    (x_t, w_t, _), (x, weight, bias), (*row, output) = graph.ins(node), arrays, at
    products = [(int(c) - x_t.quant.zero_point) * int(w) for c, w in zip(x[tuple(row)], weight[output], strict=True)]
    acc, s_x, s_w = int(bias[output]) + sum(products), x_t.quant.scale[0], w_t.quant.scale
    if len(s_w) > 1 or w_t.quant.axis is not None or rounding == "single":
        return _requantised(acc, s_x, s_w[output % len(s_w)], graph.out(node).quant, rounding)
    return _requantised(acc, float(float32(_f32(s_x) * _f32(s_w[0]))), 1.0, graph.out(node).quant, rounding)


def _batch_matmul(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    op, (a, b), (*lead, row, column) = node.op, graph.ins(node), at
    depth = arrays[0].shape[-2 if op.adj_x else -1]
    places = [tuple(0 if n == 1 else i for i, n in zip(lead, array.shape, strict=False)) for array in arrays]
    total = 0
    for k in range(depth):
        left = arrays[0][(*places[0], *((k, row) if op.adj_x else (row, k)))]
        right = arrays[1][(*places[1], *((column, k) if op.adj_y else (k, column)))]
        total += (int(left) - a.quant.zero_point) * (int(right) - b.quant.zero_point)
    return _requantised(total, a.quant.scale[0], b.quant.scale[0], graph.out(node).quant, rounding)


def _pool(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    op, x = node.op, arrays[0]
    n, row, column, channel = at
    inside = []
    for i, j in itertools.product(range(op.kernel[0]), range(op.kernel[1])):
        y, z = row * op.stride[0] + i - op.pads[0], column * op.stride[1] + j - op.pads[1]
        if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
            inside.append(int(x[n, y, z, channel]))
    return max(inside) if op.kind == "max" else half_away(Fraction(sum(inside), len(inside)))


_REAL_FUNCTIONS = {
    "logistic": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: 0.5 * x * math.erfc(-x * math.sqrt(0.5)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "exp": lambda x: math.exp(min(x, 700)),
    "log": lambda x: math.log(x) if x > 0 else -1e300,
    "sqrt": math.sqrt,
}


def _prelu(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    (a, b), out = (t.quant for t in graph.ins(node)), graph.out(node).quant
    x = _operand(graph, node, arrays, at, 0) - a.zero_point
    factor = _operand(graph, node, arrays, at, 1) - b.zero_point
    ratio, product = a.scale[0] / out.scale[0], a.scale[0] * b.scale[0] / out.scale[0]
    if rounding == "single":
        ratio = float(float32(_f32(a.scale[0]) / _f32(out.scale[0])))
        product = float(float32(float32(_f32(a.scale[0]) * _f32(b.scale[0])) / _f32(out.scale[0])))
    code = rescale_double(x * factor, *fixed_point(product)) if x < 0 else rescale_double(x, *fixed_point(ratio))
    return code + out.zero_point


def _table(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    return int(arrays[1][int(arrays[0][at]) + 128])


def _lookup(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    x, out, code = graph.ins(node)[0].quant, graph.out(node).quant, int(arrays[0][at])
    function, value = node.op.function, code - x.zero_point
    if function in _REAL_FUNCTIONS:  # exact values: fixed point and float32 differ from them by about 1e-6
        real = _REAL_FUNCTIONS[function](value * x.scale[0])
        if function == "sqrt":  # LiteRT cuts
            return math.floor(real / out.scale[0]) + out.zero_point
        return half_away(Fraction(max(min(real / out.scale[0], 1e6), -1e6))) + out.zero_point
    if function == "neg":
        return -code if code > -128 else code
    if function == "hard_swish":
        return _hard_swish(value, x.scale[0], out)
    if function == "relu6":
        return saturate(code, out.zero_point, out.zero_point + half_away(float32(6 / _f32(out.scale[0]))))
    if function == "requantise" and rounding == "single":  # a factor of 8 fractional bits
        factor = half_even(256 * float32(_f32(x.scale[0]) / _f32(out.scale[0])))
        return half_up(Fraction(value * factor, 256)) + out.zero_point
    return _piecewise(node.op, value, x, out, rounding) + out.zero_point


def _piecewise(op: ops.Lookup, value: int, x: Quant, out: Quant, rounding: str) -> int:
    """A function with one factor on each side of 0."""
    ratio, limited = x.scale[0] / out.scale[0], op.function in ("relu_0_to_1", "relu_n1_to_1")
    in_float = float32(_f32(x.scale[0]) / _f32(out.scale[0]))
    if op.function == "leaky_relu" and rounding == "single":
        below = float32(in_float * _f32(op.alpha))
        if abs(below) >= Fraction(1, 256):  # XNNPACK: 8 fractional bits
            factor = half_even(256 * below) if value < 0 else half_even(256 * in_float)
            return half_up(Fraction(value * factor, 256))
        below = float32(float32(_f32(op.alpha) * _f32(x.scale[0])) / _f32(out.scale[0]))
        ratio = float(below if value < 0 else in_float)
    elif op.function != "requantise" and (rounding == "single" or limited):
        ratio = float(in_float)
    elif op.function == "leaky_relu" and value < 0:
        ratio = op.alpha * x.scale[0] / out.scale[0]
    m, shift = fixed_point(abs(ratio)) if ratio else (0, 0)
    code = rescale_double(abs(value) if op.function == "abs" else value, -m if ratio < 0 else m, shift)
    if limited:
        low = -1 if op.function == "relu_n1_to_1" else 0
        return saturate(code, half_away(low / Fraction(out.scale[0])), half_away(1 / Fraction(out.scale[0])))
    return max(code, 0) if op.function == "relu" else code


def _hard_swish(value: int, scale: float, out: Quant) -> int:
    """A gate of 0 to 1 with 15 fractional bits times the value, each product rounded to 16 bits."""

    def multiplier(real: Fraction) -> tuple[int, int]:
        m, shift = fixed_point(float(real))
        return min((m + 2**15) >> 16, 2**15 - 1), shift

    def product(a: int, b: int) -> int:
        """/ 2^15, to nearest; ties go up."""
        return half_up(Fraction(a * b, 2**15))

    fine = float32(_f32(scale) / 128)
    out_m, out_shift = multiplier(float32(fine / _f32(out.scale[0])))
    gate_m, gate_shift = multiplier(float32(fine / _f32(3 / 2**15)))
    hires = value * 128
    gate = saturate(hires * 2 ** max(gate_shift - 1, 0), -(2**15), 2**15 - 1)
    gate = saturate(product(gate, gate_m) * (2 if gate_shift > 0 else 1), -(2**15), 2**15 - 1)
    gate = (half_away(Fraction(gate, 2 ** max(-gate_shift, 0))) + 2**15) // 2
    exact = Fraction(gate * product(hires, out_m), 2**15)
    return half_away(Fraction(math.trunc(exact), 2**-out_shift)) + out.zero_point


def _squared_difference(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    """Each operand has 7 fractional bits of the common scale, twice the larger one."""
    (a, b), out = (t.quant for t in graph.ins(node)), graph.out(node).quant
    common = 2.0 * max(a.scale[0], b.scale[0])
    x, y = (
        rescale_double((_operand(graph, node, arrays, at, i) - q.zero_point) * 128, *fixed_point(q.scale[0] / common))
        for i, q in enumerate((a, b))
    )
    return rescale_double((x - y) ** 2, *fixed_point(common * common / (2**14 * out.scale[0]))) + out.zero_point


def _extremum(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    codes = [_operand(graph, node, arrays, at, which) for which in (0, 1)]
    return max(codes) if node.op.kind == "max" else min(codes)


def _l2_norm(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    """A real root, with 28 fractional bits for a sum of squares scaled into 1/4 to 1, and a rescale."""
    row = [int(code) - graph.ins(node)[0].quant.zero_point for code in arrays[0][at[:-1]]]
    total, shift = sum(value * value for value in row), -4
    if total <= 1:
        return 128 * row[at[-1]]
    scaled = Fraction(total, 2**29)
    while scaled < Fraction(1, 4):
        scaled, shift = 4 * scaled, shift + 1
    root = round(2**28 * math.sqrt(Fraction(1, 2) / scaled))
    return rescale_double(row[at[-1]], root, shift)


def _softmax(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    """Exact values, for the same reason."""
    scale, row = graph.ins(node)[0].quant.scale[0] * node.op.beta, arrays[0][at[:-1]].astype(int)
    powers = [math.exp((int(code) - int(row.max())) * scale) for code in row]
    return half_up(Fraction(256 * powers[at[-1]] / sum(powers))) - 128


def _log_softmax(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    """Exact values, for the same reason."""
    scale, row = graph.ins(node)[0].quant.scale[0], arrays[0][at[:-1]].astype(int)
    total = sum(math.exp((int(code) - int(row.max())) * scale) for code in row)
    return half_up(Fraction(16 * ((int(row[at[-1]]) - int(row.max())) * scale - math.log(total)))) + 127


_ELEMENT = {
    ops.Conv2D: _conv,
    ops.DepthwiseConv2D: _conv,
    ops.TransposeConv2D: _transposed,
    ops.FullyConnected: _fully_connected,
    ops.BatchMatMul: _batch_matmul,
    ops.Mul: _mul,
    ops.Add: _add,
    ops.Sub: _add,
    ops.Reduce: _reduce,
    ops.Pool2D: _pool,
    ops.SquaredDifference: _squared_difference,
    ops.Extremum: _extremum,
    ops.L2Norm: _l2_norm,
    ops.Rsqrt: _rsqrt,
    ops.PRelu: _prelu,
    ops.Lookup: _lookup,
    ops.Table: _table,
    ops.Softmax: _softmax,
    ops.LogSoftmax: _log_softmax,
    ops.Lstm: lstm,
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Pad: _pad,
    ops.Slice: _slice,
    ops.Concat: _concat,
    ops.Resize: _resize,
}


def element(graph: Graph, node: Node, arrays, at: tuple[int, ...], rounding: str) -> int:
    """The output code of ``node`` at one index of its output array."""
    zero_point = graph.out(node).quant.zero_point
    low = max(-128, zero_point) if ops.has_relu(node.op) else -128
    return saturate(_ELEMENT[type(node.op)](graph, node, arrays, at, rounding), low)
