"""PyTorch functions of the ops: layers with a state from one step to the next."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from .common import Row

_LARGEST_CODE = 2**15 - 1  # of the cell state


def lstm_states(
    x: Tensor, weights: tuple[Tensor, Tensor, Tensor], rounded: Callable[[Tensor], Tensor], limit: Tensor
) -> tuple[Tensor, Tensor]:
    """Hidden and cell state after each step of x (n, steps, inputs): (n, steps, units) each.

    Args:
        weights: of the input (4, units, inputs), of the hidden state (4, units, units), and biases (4, units).
        rounded: rounds the hidden state where it is read; it is returned before that.
        limit: of the magnitude of the cell state.
    """
    weight, recurrent, bias = (each.flatten(0, 1) for each in weights)
    of_inputs = F.linear(x, weight, bias)
    hidden = x.new_zeros(len(x), recurrent.shape[1])
    cell, states, cells = torch.zeros_like(hidden), [], []
    for of_input in of_inputs.unbind(1):
        write, forget, new, read = (of_input + F.linear(hidden, recurrent)).chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(write) * torch.tanh(new)
        cell = cell.clamp(-limit, limit)
        states.append(torch.sigmoid(read) * torch.tanh(cell))
        cells.append(cell)
        hidden = rounded(states[-1])
    return torch.stack(states, dim=1), torch.stack(cells, dim=1)


def _lstm(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    """The hidden state is rounded where it is read, the output as any activation."""
    op, (x, weight, recurrent, bias) = node.op, ins
    assert isinstance(op, ops.Lstm)
    quant = graph.out(node).quant
    limit = torch.tensor((op.cell_clip or _LARGEST_CODE) * 2.0**-op.cell_bits)

    def rounded(hidden: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(hidden, quant.scale[0], quant.zero_point, -128, 127)

    return lstm_states(x, (weight, recurrent, bias), rounded, limit)[0]


ROWS: dict[type[ops.Op], Row] = {ops.Lstm: _lstm}
