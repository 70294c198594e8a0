"""The oracle's LSTM, step by step in whole numbers and fractions: see :mod:`tests.runtime.oracle`."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np

from tests.runtime.oracle_rounding import fixed_point, float32, half_away, half_up, rescale_double, saturate
from tinyscene.runtime.gates import TABLE
from tinyscene.runtime.graph import Graph, Node

ONE = 2**15 - 1


def _int16(value: int) -> int:
    return saturate(value, -(2**15), ONE)


def lstm(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    """The hidden state of one unit after one step."""
    n, step, unit = at
    return _states(graph, node, arrays[0][n].tobytes(), rounding)[step][unit]


@lru_cache(maxsize=4)
def _states(graph: Graph, node: Node, codes: bytes, rounding: str) -> list[list[int]]:
    """The hidden states after each step, for the codes of one input."""
    (x_t, weight_t, recurrent_t, bias_t), out = graph.ins(node), graph.out(node).quant
    x = np.frombuffer(codes, np.int8).reshape(x_t.shape[1:]).tolist()
    weight, recurrent, bias = (tensor.data.tolist() for tensor in (weight_t, recurrent_t, bias_t))
    states = []
    double, units = rounding == "double", len(bias[0])
    hidden, cell = [out.zero_point] * units, [0] * units
    factors = [
        [fixed_point(float(float32(Fraction(scale) * Fraction(q.scale[0])) * 4096)) for scale in w.quant.scale]
        for w, q in ((weight_t, x_t.quant), (recurrent_t, out))
    ]
    of_hidden = Fraction(1, 2**30) / Fraction(out.scale[0])
    hidden_factor = fixed_point(2.0**-30 / out.scale[0] if double else float(float32(of_hidden)))
    for step in x:
        gates = [[0] * units for _ in range(4)]
        for gate in range(4):
            for i in range(units):
                pairs = zip(step, weight[gate][i], strict=True)
                first = bias[gate][i] + sum((code - x_t.quant.zero_point) * w for code, w in pairs)
                pairs = zip(hidden, recurrent[gate][i], strict=True)
                second = sum((code - out.zero_point) * w for code, w in pairs)
                second = rescale_double(second, *factors[1][gate])
                second = _int16(second) if double else second
                total = _int16(_int16(rescale_double(first, *factors[0][gate])) + second)
                gates[gate][i] = _tanh(total, 12, rounding) if gate == 2 else _logistic(total, rounding)
        for i in range(units):
            cell[i] = _next(node.op, cell[i], [gate[i] for gate in gates], double)
            product = gates[3][i] * _tanh(cell[i], node.op.cell_bits, rounding)
            hidden[i] = saturate(rescale_double(product, *hidden_factor) + out.zero_point, -128)
        states.append(list(hidden))
    return states


def _next(op, cell: int, gates: list[int], double: bool) -> int:
    kept, added = gates[1] * cell, gates[0] * gates[2]
    shifts = 15, 30 - op.cell_bits
    if double:
        terms = [_int16(rescale_double(v, 2**30, 1 - bits)) for v, bits in zip((kept, added), shifts, strict=True)]
    else:
        terms = [half_away(Fraction(v, 2**bits)) for v, bits in zip((kept, added), shifts, strict=True)]
    total = _int16(sum(terms))
    return saturate(total, -op.cell_clip, op.cell_clip) if op.cell_clip else total


def _between(place: Fraction, last: int) -> Fraction:
    """The table of the logistic function between its places, ``last`` from place 255 on."""
    i = int(place)
    return Fraction(last) if i >= 255 else int(TABLE[i]) + (place - i) * int(TABLE[i + 1] - TABLE[i])


def _logistic(x: int, rounding: str) -> int:
    if rounding == "double":
        share = _between(Fraction(abs(3 * x), 512), 2 * ONE) / 2
        return half_up(share) if x >= 0 else -half_up(share - 2**15 + Fraction(1, 1024))
    return 2**14 if x == 0 else ONE - _quotient(x, 3, 1, 0) if x < 0 else _quotient(x, 3, 1, 0)


def _tanh(x: int, bits: int, rounding: str) -> int:
    if rounding == "double":
        scaled = half_up(3 * x * Fraction(4096, 2**bits))
        share = _between(Fraction(abs(scaled), 256), 2**16 - 1) - 2**15
        return half_up(share) if scaled >= 0 else half_up(-share - Fraction(1, 256))
    return 0 if x == 0 else (1 if x > 0 else -1) * _quotient(x, 16 - bits, 2, 2**13)


def _quotient(x: int, integer_bits: int, bits: int, less: int) -> int:
    """(2 / (1 + exp(-|x|)) of 13 fractional bits, less a number) * 2^bits, in saturated steps of 16 bits."""

    def product(a: int, b: int) -> int:
        value = Fraction(a * b, 2**15)
        return min(half_up(value), ONE)

    half = (_exponential(-abs(x), integer_bits, product) + 2**15) // 2
    y = 23130 + product(half, -15420)
    for _ in range(3):
        y += _int16(4 * product(y, 2**13 - product(half, y)))
    return _int16((y - less) * 2**bits)


def _exponential(a: int, integer_bits: int, product) -> int:
    fraction_bits = 15 - integer_bits
    if integer_bits > 5 and a < -(32 << fraction_bits):
        return 0
    quarter = 2 ** (fraction_bits - 2)
    rest = a % quarter - quarter
    x = _int16(rest * 2**integer_bits) + 2**12
    square = product(x, x)
    third = product(half_away(Fraction(product(square, square), 4)) + product(square, x), 10923)
    result = _int16(28918 + product(x + half_away(Fraction(third + square, 2)), 28918))
    for i, power in enumerate((25520, 19875, 12055, 4435, 600, 11, 0), start=-2):
        if i < integer_bits and (rest - a) // Fraction(quarter * 2 ** (i + 2)) % 2:
            result = product(result, power)
    return result
