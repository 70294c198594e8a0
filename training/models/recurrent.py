"""The LSTM as an operator of a program: PyTorch's ``lstm.input``, with its shapes and its products known beforehand.

Refuses sequences of more than ``MOST_STEPS`` steps; PyTorch takes them one after the other, also to find out a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LSTM = "lstm.input"
MOST_STEPS = 4096


def lstm(
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    *rest: Any,
) -> tuple[Tensor, ...]:
    """The outputs, and the last hidden and cell states, as PyTorch's operator; on the meta device their shapes alone.

    ``rest``: dropout, whether it trains, whether there are two directions, and whether the clips are the first axis.
    """
    _, _, bidirectional, batch_first = rest
    steps = x.shape[1 if batch_first else 0]
    if steps > MOST_STEPS:
        raise ValueError(f"an LSTM of {steps} steps: expected at most {MOST_STEPS}")
    if not x.is_meta:
        y, hidden, cell = torch.ops.aten.lstm.input(x, states, parameters, has_biases, num_layers, *rest)
        return y, hidden, cell
    units = states[0].shape[2] * (2 if bidirectional else 1)
    return x.new_empty(*x.shape[:2], units), torch.empty_like(states[0]), torch.empty_like(states[1])


def lstm_products(x: Tensor, parameters: Sequence[Tensor]) -> int:
    """Multiplications: each weight is read once for each step and clip."""
    weights: int = sum(each.numel() for each in parameters if each.ndim == 2)
    return x.shape[0] * x.shape[1] * weights
