"""An LSTM layer of the fake-quantised network: what the integer op rounds to 8 bits is rounded, in training too.

The weights have a scale for each gate, the hidden state the range of the output. Gates and cell state, which have 16
bits, stay float; the cell state has the limits of its 16 bits. Refuses to lower a layer that is not calibrated.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tinyscene.runtime.lstm_ranges import LOWEST_SCALE
from tinyscene.runtime.ops import GATES

from ..errors import ExportError
from .activation_range import SMALLEST_SCALE, Range
from .float_steps import LstmStep
from .simulate.recurrent import lstm_states

_LEAST_BITS, _MOST_BITS = 9, 15  # fractional bits of the cell state
_HEADROOM = 1.4  # times the largest cell state of the calibration clips


class QuantLstm(nn.Module):
    """Maps a sequence (batch, steps, inputs) to the outputs (batch, steps, units) before they are rounded.

    ``hidden`` is the range of the output, which the hidden state of the next step is rounded to.
    """

    limit: Tensor

    def __init__(self, step: LstmStep) -> None:
        super().__init__()
        self.step = step
        self.weight, self.recurrent, self.bias = (
            nn.Parameter(each.detach().clone().reshape(len(GATES), -1, *each.shape[1:]))
            for each in (step.weight, step.recurrent, step.bias)
        )
        self.hidden = Range(step.name, smallest_scale=LOWEST_SCALE)
        self.rounding = True
        self.register_buffer("limit", torch.tensor(math.inf))  # of the cell state

    def forward(self, x: Tensor) -> Tensor:
        return self.states(x)[0]

    def states(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden and cell state after each step (batch, steps, units), before they are rounded."""
        weights = [_rounded(each) if self.rounding else each for each in (self.weight, self.recurrent)]
        limit = self.limit if self.rounding else torch.full_like(self.limit, math.inf)
        return lstm_states(x, (weights[0], weights[1], self.bias), self.hidden, limit)

    def set_limit(self, cells: Tensor) -> None:
        """Give the cell state the most fractional bits with which it holds the values ``cells``, and more."""
        integer_bits = math.ceil(math.log2(max(float(cells.abs().max()) * _HEADROOM, 2.0**-30)))
        self.limit.fill_(2.0 ** min(max(integer_bits, 15 - _MOST_BITS), 15 - _LEAST_BITS))

    def cell_bits(self) -> int:
        """Fractional bits of the cell state; raises ExportError if the layer is not calibrated."""
        if torch.isinf(self.limit):
            what, step = "its cell state has no range", "calibrate the network first"
            raise ExportError(f"layer '{self.step.name}'", what, next_step=step)
        return 15 - round(math.log2(float(self.limit)))


def gate_scales(weight: Tensor) -> Tensor:
    """Symmetric scale (4,) of weights (4, units, K), which gives the largest magnitude of each gate code 127."""
    return weight.detach().abs().amax(dim=(1, 2)).clamp(min=SMALLEST_SCALE) / 127.0


def _rounded(weight: Tensor) -> Tensor:
    scale = gate_scales(weight)
    zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)
