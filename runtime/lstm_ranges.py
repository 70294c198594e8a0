"""Weights, scales and accumulators that an LSTM allows. Refuses nothing itself: :mod:`.op_ranges` has its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .graph import Quant, Tensor

GATE_INPUT_BITS = 12  # fractional bits of a gate's input
LOWEST_SCALE, HIGHEST_SCALE = 2.0**-14, 2.0  # of the hidden state: its factor from 2^-31 on, without a left shift


def gate_factors(x: Quant, weight: Quant) -> npt.NDArray[np.float64]:
    """float64 (4,): accumulators to gate inputs; the product of the scales is rounded to float32."""
    product = np.float32(x.scale[0]) * np.asarray(weight.scale, np.float32)
    return np.asarray(product, np.float64) * 2.0**GATE_INPUT_BITS


def lstm_problem(ins: Sequence[Tensor], out: Tensor) -> tuple[str, object, object] | None:
    """What is wrong with the constants or scales of an LSTM: what, expected, got; or None."""
    x, weight, recurrent, bias = ins
    for each in (weight, recurrent):
        if each.data is None or each.dtype != "int8" or each.quant.axis != 0 or each.quant.zero_point != 0:
            return "weight", "a symmetric int8 constant with a scale for each gate", each.record
    if bias.data is None or bias.dtype != "int32" or bias.quant.axis != 0 or bias.quant.zero_point != 0:
        return "bias", "an int32 constant with a scale for each gate", bias.record
    expected = np.float32(x.quant.scale[0]) * np.asarray(weight.quant.scale, np.float32)
    if not np.allclose(expected, bias.quant.scale, rtol=1e-6, atol=0.0):
        return "bias scale is not input scale times weight scale", expected.tolist(), bias.quant.scale
    if not LOWEST_SCALE <= out.quant.scale[0] <= HIGHEST_SCALE:
        return "output scale out of bounds", f"{LOWEST_SCALE:g} to {HIGHEST_SCALE:g}", out.quant.scale[0]
    offsets = np.abs(bias.data.astype(np.int64))
    largest = max(_shifted_reach(x, weight, offsets), _shifted_reach(out, recurrent, np.zeros_like(offsets)))
    return None if largest < 2**31 else ("accumulator can overflow int32", "below 2^31", f"{largest:.3g}")


def _shifted_reach(x: Tensor, weight: Tensor, offsets: npt.NDArray[np.int64]) -> float:
    """The largest accumulator for any input, after the left shift of its factor."""
    assert weight.data is not None
    farthest = max(127 - x.quant.zero_point, 128 + x.quant.zero_point)
    reach = np.abs(weight.data.astype(np.int64)).sum(axis=2) * farthest + offsets
    shifts = np.maximum(np.frexp(gate_factors(x.quant, weight.quant))[1], 0)
    return float((reach * 2.0 ** shifts[:, None]).max())
