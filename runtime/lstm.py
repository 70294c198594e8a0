"""Constants of an LSTM layer: the factors between its accumulators, its two states and its output.

A gate is logistic or tanh of two sums of products, each rescaled to 12 fractional bits. The product of forget gate and
cell state and that of input and cell gate are added to the new cell state; output gate times tanh of it is the hidden
state. Under ``double`` (TFLite Micro) each product is rounded twice, and factors are computed in double; under
``single`` (LiteRT, default and reference kernels) shifts of the cell state are rounded once, and the factor of the
hidden state is computed in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arith import Rounding, fixed_point
from .gates import OUTPUT_BITS
from .graph import Quant
from .lstm_ranges import gate_factors
from .ops import Lstm

Factor = tuple[int, int]  # multiplier * 2^(shift - 31)


@dataclass(frozen=True)
class LstmFactors:
    """``of_input``, ``of_hidden``: one for each gate. ``keep``, ``add``: products to the cell state, as factors, and as
    shifts to the right in ``*_bits``. ``hidden``: products to the hidden state."""

    of_input: tuple[Factor, ...]
    of_hidden: tuple[Factor, ...]
    keep: Factor
    add: Factor
    keep_bits: int
    add_bits: int
    hidden: Factor


def lstm_factors(op: Lstm, x: Quant, weight: Quant, recurrent: Quant, out: Quant, rounding: Rounding) -> LstmFactors:
    keep_bits, add_bits = OUTPUT_BITS, 2 * OUTPUT_BITS - op.cell_bits
    product = 2.0 ** (-2 * OUTPUT_BITS)
    hidden = product / out.scale[0] if rounding == "double" else float(np.float32(product) / np.float32(out.scale[0]))
    return LstmFactors(
        _of_gates(x, weight),
        _of_gates(out, recurrent),
        _fixed(2.0**-keep_bits),
        _fixed(2.0**-add_bits),
        keep_bits,
        add_bits,
        _fixed(hidden),
    )


def _of_gates(x: Quant, weight: Quant) -> tuple[Factor, ...]:
    multipliers, shifts = fixed_point(gate_factors(x, weight))
    return tuple(zip(multipliers.tolist(), shifts.tolist(), strict=True))


def _fixed(real: float) -> Factor:
    multiplier, shift = fixed_point(np.array([real]))
    return int(multiplier[0]), int(shift[0])
