"""Operators of PyTorch that are matrix products: linear layers, over features or over each row of a larger tensor."""

from __future__ import annotations

from torch import Tensor, nn

from ..float_steps import ConvStep
from .call import Call
from .reader import Reader, Row
from .values import View


def _linear(reader: Reader, call: Call) -> View:
    weight, bias = call.tensor("weight"), call.tensor("bias")
    if weight is None:
        reader.refuse(call, "a linear layer whose weight is computed from the input")
    return product_of_rows(reader, call, call.view("input"), weight, bias)


def product_of_rows(reader: Reader, call: Call, x: View, weight: Tensor, bias: Tensor | None) -> View:
    """The product of each row of ``x`` with the transposed ``weight`` (outputs, K), plus ``bias``."""
    conv = nn.Conv2d(weight.shape[1], len(weight), 1, bias=bias is not None, device="meta")
    conv.weight = nn.Parameter(weight[:, :, None, None])
    if bias is not None:
        conv.bias = nn.Parameter(bias)
    order = tuple(range(len(x.shape)))
    step = ConvStep(call.name, (reader.stored(x, order),), conv, (0, 0, 0, 0), rows=True)
    return reader.add(call.node, step, call.shape, order)


ROWS: dict[str, Row] = {"linear": _linear}
