"""PyTorch functions of the ops: layers with a state from one step to the next."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from .common import Row


def _lstm(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    """The hidden state is rounded where it is read, the output as any activation."""
    op, (x, weight, recurrent, bias) = node.op, ins
    assert isinstance(op, ops.Lstm)
    quant, clip = graph.out(node).quant, op.cell_clip * 2.0**-op.cell_bits
    hidden = x.new_zeros(len(x), weight.shape[1])
    cell, states = torch.zeros_like(hidden), []
    for step in x.unbind(1):
        sums = F.linear(step, weight.flatten(0, 1), bias.flatten()) + F.linear(hidden, recurrent.flatten(0, 1))
        of_input, forget, new, of_output = sums.chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(of_input) * torch.tanh(new)
        cell = cell.clamp(-clip, clip) if clip else cell
        states.append(torch.sigmoid(of_output) * torch.tanh(cell))
        hidden = torch.fake_quantize_per_tensor_affine(states[-1], quant.scale[0], quant.zero_point, -128, 127)
    return torch.stack(states, dim=1)


ROWS: dict[type[ops.Op], Row] = {ops.Lstm: _lstm}
