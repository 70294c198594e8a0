"""Op records and shape rules: layers with a state from one step to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..records import Range
from .shapes import (
    OpRow,
    Shape,
    of_rank,
    same,
)

GATES = ("input", "forget", "cell", "output")  # their order in the weights of an LSTM


@dataclass(frozen=True)
class Lstm:
    """A layer of LSTM cells: the hidden state after each step. Its state is zero before the first.

    Inputs: x (1, T, I), weight (4, H, I), recurrent weight (4, H, H) and bias int32 (4, H), both weights with a scale
    for each of :data:`GATES`. The hidden state has the scale and zero point of the output, the cell state 16 bits, of
    which ``cell_bits`` are fractional; beyond ``cell_clip`` of them, where that is not 0, it is clipped.
    """

    cell_bits: Annotated[int, Range(9, 15)]
    cell_clip: Annotated[int, Range(0, 32767)] = 0


def _lstm_shape(op: Lstm, x: Shape, weight: Shape, recurrent: Shape, bias: Shape) -> Shape:
    _, steps, inputs = of_rank(3, x)
    units = of_rank(3, weight)[1]
    same(weight, (len(GATES), units, inputs), "shape of the weight")
    same(recurrent, (len(GATES), units, units), "shape of the recurrent weight")
    same(bias, (len(GATES), units), "shape of the bias")
    return (1, steps, units)


ROWS: dict[type, OpRow] = {Lstm: OpRow("lstm", _lstm_shape, 1, 4)}
