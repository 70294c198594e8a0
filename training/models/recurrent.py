"""The LSTM as an operator of a program: PyTorch's ``lstm.input``, with its shapes and its products known beforehand.

PyTorch takes one step after the other even to find out a shape, 0.1 s each; so :class:`WholeLstm` traces
an operator of our own in its place. Refuses sequences of more than ``MOST_STEPS`` steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

LSTM = "lstm.input"
MOST_STEPS = 4096


def lstm(x: Tensor, states: Sequence[Tensor], parameters: Sequence[Tensor], *rest: Any) -> tuple[Tensor, ...]:
    """The outputs, and the last hidden and cell states, as PyTorch's operator; on the meta device their shapes alone.

    ``rest``: whether there are biases, the number of layers, dropout, whether it trains, whether there are two
    directions, and whether the clips are the first axis.
    """
    *_, bidirectional, batch_first = rest
    steps = x.shape[1 if batch_first else 0]
    if steps > MOST_STEPS:
        raise ValueError(f"an LSTM of {steps} steps: expected at most {MOST_STEPS}")
    if x.is_meta:
        return _shapes(x, states, bidirectional)
    return tuple(torch.lstm(x, states, parameters, *rest))  # type: ignore[call-overload]


def lstm_products(x: Tensor, parameters: Sequence[Tensor]) -> int:
    """Multiplications: each weight is read once for each step and clip."""
    weights: int = sum(each.numel() for each in parameters if each.ndim == 2)
    return x.shape[0] * x.shape[1] * weights


def _shapes(x: Tensor, states: Sequence[Tensor], bidirectional: bool) -> tuple[Tensor, Tensor, Tensor]:
    hidden, cell = states
    units = hidden.shape[2] * (2 if bidirectional else 1)
    return x.new_empty(x.shape[0], x.shape[1], units), torch.empty_like(hidden), torch.empty_like(cell)


# The names of the arguments are those of PyTorch's operator.
torch.library.define(
    "tinyscene::lstm",
    "(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, "
    "bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)",
)


@torch.library.impl("tinyscene::lstm", "CompositeExplicitAutograd")
def _computed(*arguments: Any) -> tuple[Tensor, ...]:
    return tuple(torch.lstm(*arguments))


@torch.library.register_fake("tinyscene::lstm")  # type: ignore[untyped-decorator]
def _traced(x: Tensor, states: Sequence[Tensor], *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _shapes(x, states, rest[-2])


class WholeLstm(TorchFunctionMode):
    """While it is active, calls of PyTorch's LSTM become ``tinyscene::lstm``; those of packed sequences do not."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packed = len(args) > 1 and isinstance(args[1], Tensor)
        if func is torch.lstm and not packed:
            return torch.ops.tinyscene.lstm(*args)
        return func(*args, **(kwargs or {}))
