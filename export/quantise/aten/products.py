"""Operators of PyTorch that are matrix products: with a constant, over each row of a tensor, or of two activations.

Refuses products of two activations of unequal rank, whose batches would meet other axes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from tinyscene.runtime import ops

from ..float_steps import ConvStep, OpStep
from .call import Call
from .reader import Reader, Row
from .values import BATCH, Value, View, entries_of_batch

HIDDEN = 16.0  # a score that is lower by this has a weight of 1e-7 and the code of 0; 8 bits hold no infinity


def _linear(reader: Reader, call: Call) -> View:
    weight, bias = call.tensor("weight"), call.tensor("bias")
    if weight is None:
        reader.refuse(call, "a linear layer whose weight is computed from the input")
    return product_of_rows(reader, call, call.view("input"), weight, bias, call.shape)


def product_of_rows(
    reader: Reader, call: Call, x: View, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...]
) -> View:
    """The product of each row of ``x`` with the transposed ``weight`` (outputs, K), plus ``bias``."""
    conv = nn.Conv2d(weight.shape[1], len(weight), 1, bias=bias is not None, device="meta")
    conv.weight = nn.Parameter(weight[:, :, None, None])
    if bias is not None:
        conv.bias = nn.Parameter(bias)
    entries = entries_of_batch(x.positions, math.prod(reader.shapes[x.name]))
    if entries is None:
        reader.refuse(call, "elements of one batch entry move to another")
    by_entry = View(x.name, x.positions.reshape(-1, x.shape[-1])[entries])  # (batch, rows, K)
    if len(x.positions) == BATCH:
        by_entry = x
    order = tuple(range(len(by_entry.shape)))
    step = ConvStep(reader.unique(call.name), (reader.stored(by_entry, order),), conv, (0, 0, 0, 0), rows=True)
    y = reader.add(call.node, step, (*by_entry.shape[:-1], len(weight)), order)
    result = torch.empty(math.prod(shape[:-1]), len(weight), dtype=torch.long)
    result[entries] = y.positions.reshape(*entries.shape, -1)
    return View(y.name, result.reshape(shape))


def _matmul(reader: Reader, call: Call) -> View:
    """A matrix of constants is a linear layer, on either side; other factors are products of two tensors."""
    a, b = (call[name] for name in list(call.arguments)[:2])
    if isinstance(b, Tensor) and b.ndim == 2:
        return product_of_rows(reader, call, a, b.T, None, call.shape)
    if isinstance(a, Tensor) and a.ndim == 2 and len(b.shape) > 2:
        turned = View(b.name, b.positions.mT)
        y = product_of_rows(reader, call, turned, a, None, (*call.shape[:-2], call.shape[-1], call.shape[-2]))
        return View(y.name, y.positions.mT)
    return _of_activations(reader, call, a, b, call.shape)


def _of_activations(reader: Reader, call: Call, a: Value, b: Value, shape: tuple[int, ...]) -> View:
    """The matrices in the last two axes; the first axis is the batch, or the batch times another axis."""
    if len(shape) == 3 and shape[0] != BATCH:
        a, b = (_split(factor) for factor in (a, b))
        y = _of_activations(reader, call, a, b, (BATCH, shape[0] // BATCH, *shape[1:]))
        return View(y.name, y.positions.reshape(shape))
    rank = len(shape)
    if rank < 3 or len(a.shape) != rank or len(b.shape) != rank:
        reader.refuse(call, f"a product of factors with {len(a.shape)} and {len(b.shape)} axes")
    order = tuple(range(rank))
    operands = [
        reader.stored(factor, order) if isinstance(factor, View) else _one_batch(reader, call, factor)
        for factor in (a, b)
    ]
    step = OpStep(reader.unique(call.name), tuple(operands), ops.BatchMatMul())
    return reader.add(call.node, step, shape, order)


def _split(factor: Value) -> Value:
    values = factor.positions if isinstance(factor, View) else factor
    split = values.reshape(BATCH, -1, *values.shape[1:])
    return View(factor.name, split) if isinstance(factor, View) else split


def _attention(reader: Reader, call: Call) -> View:
    """softmax(q @ k.T * scale + mask) @ v, where the softmax includes the factor."""
    query, key, value = (call.view(name) for name in ("query", "key", "value"))
    if isinstance(call["attn_mask"], View) or call["enable_gqa"]:
        reader.refuse(call, "attention with a mask that is computed from the input, or with groups of queries")
    turned = View(key.name, key.positions.mT)
    shape = (*query.shape[:-1], key.shape[-2])
    scores = _of_activations(reader, call, query, turned, shape)
    beta = float(np.float32(call["scale"] or query.shape[-1] ** -0.5))
    order = tuple(range(len(shape)))
    name, mask = reader.stored(scores, order), _mask_of(call, shape)
    if mask is not None:
        masked = OpStep(reader.unique(f"{call.name}.mask"), (name, _one_batch(reader, call, mask) / beta), ops.Add())
        name = reader.add(call.node, masked, shape, order).name
    softmax = OpStep(reader.unique(f"{call.name}.weights"), (name,), ops.Softmax(beta))
    return _of_activations(reader, call, reader.add(call.node, softmax, shape, order), value, call.shape)


def _mask_of(call: Call, shape: tuple[int, ...]) -> Tensor | None:
    """What is added to the scores of ``shape``, with as many axes; None without a mask."""
    mask = torch.ones(shape[-2:], dtype=torch.bool).tril() if call["is_causal"] else call.tensor("attn_mask")
    if mask is None:
        return None
    added = torch.zeros(mask.shape).masked_fill(~mask, -HIDDEN) if mask.dtype == torch.bool else mask.float()
    return added.clamp(min=-HIDDEN).reshape((1,) * (len(shape) - mask.ndim) + tuple(mask.shape))


def _one_batch(reader: Reader, call: Call, factor: Tensor) -> Tensor:
    """A constant factor, which is the same for each entry of the batch."""
    if len(factor) > 1 and not bool((factor[:1] == factor).all()):
        reader.refuse(call, "a constant factor with entries of a batch")
    return torch.as_tensor(factor[:1], dtype=torch.float32).detach()


def _addmm(reader: Reader, call: Call) -> View:
    """``self`` + mat1 @ mat2 with a constant weight and bias."""
    x, weight, bias = call["mat1"], call["mat2"], call["self"]
    if not (isinstance(x, View) and isinstance(weight, Tensor) and isinstance(bias, Tensor)):
        reader.refuse(call, "a product whose weight or bias is computed from the input")
    outputs = weight.shape[1]
    scaled = (bias * call["beta"]).reshape(-1).expand(outputs) if bias.ndim < 2 else None
    if scaled is None:
        reader.refuse(call, "a bias with a batch")
    return product_of_rows(reader, call, x, weight.T * call["alpha"], scaled.contiguous(), call.shape)


ROWS: dict[str, Row] = {
    "linear": _linear,
    "matmul": _matmul,
    "bmm": _matmul,
    "mm": _matmul,
    "addmm": _addmm,
    "scaled_dot_product_attention": _attention,
}
