"""Reference kernels: layers with a state from one step to the next."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..arith import Rounding, rescale_double, rounding_shift_right
from ..arrays import I8, I64
from ..gates import int16, logistic, tanh
from ..graph import Graph, Node
from ..lstm import Factor, LstmFactors, lstm_factors
from ..lstm_ranges import GATE_INPUT_BITS
from .common import Arrays, Kernel


def lstm(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    op, (x, weight, recurrent, bias) = node.op, arrays
    assert isinstance(op, ops.Lstm)
    x_t, weight_t, recurrent_t, _ = graph.ins(node)
    out = graph.out(node).quant
    factors = lstm_factors(op, x_t.quant, weight_t.quant, recurrent_t.quant, out, rounding)
    sums = np.einsum("nti,ghi->tngh", x.astype(np.float64) - x_t.quant.zero_point, weight).astype(np.int64) + bias
    of_input = _rescaled(sums, factors.of_input)
    hidden = np.full((len(x), weight.shape[1]), out.zero_point, np.int64)
    cell, states = np.zeros_like(hidden), []
    for step in of_input:
        products = np.einsum("nh,gkh->ngk", hidden.astype(np.float64) - out.zero_point, recurrent).astype(np.int64)
        gates = _gates(step, _rescaled(products, factors.of_hidden), rounding)
        cell = _next_cell(op, cell, gates, factors, rounding)
        product = gates[:, 3] * tanh(cell, op.cell_bits, rounding)
        hidden = np.clip(_product(product, factors.hidden) + out.zero_point, -128, 127)
        states.append(hidden)
    return np.stack(states, axis=1).astype(np.int8)


def _rescaled(sums: I64, factors: tuple[Factor, ...]) -> I64:
    """Accumulators (..., 4, H) with 12 fractional bits."""
    multiplier, shift = np.array(factors, np.int64).T[:, :, None]
    return rescale_double(sums, multiplier, shift)


def _gates(of_input: I64, of_hidden: I64, rounding: Rounding) -> I64:
    """Input, forget, cell and output gate (N, 4, H); TFLite Micro saturates both summands, LiteRT the first alone."""
    total = int16(int16(of_input) + (int16(of_hidden) if rounding == "double" else of_hidden))
    gates = logistic(total, rounding)
    gates[:, 2] = tanh(total[:, 2], GATE_INPUT_BITS, rounding)
    return gates


def _next_cell(op: ops.Lstm, cell: I64, gates: I64, factors: LstmFactors, rounding: Rounding) -> I64:
    kept, added = gates[:, 1] * cell, gates[:, 0] * gates[:, 2]
    if rounding == "double":
        kept, added = int16(_product(kept, factors.keep)), int16(_product(added, factors.add))
    else:
        kept, added = (
            rounding_shift_right(product, np.asarray(bits, np.int64))
            for product, bits in ((kept, factors.keep_bits), (added, factors.add_bits))
        )
    total = int16(kept + added)
    return np.clip(total, -op.cell_clip, op.cell_clip) if op.cell_clip else total


def _product(product: I64, factor: Factor) -> I64:
    return rescale_double(product, np.asarray(factor[0], np.int64), np.asarray(factor[1], np.int64))


ROWS: dict[type, Kernel] = {ops.Lstm: lstm}
