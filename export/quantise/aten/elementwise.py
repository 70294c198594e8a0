"""Operators of PyTorch on single elements: sums, differences, products, and functions of one element."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tinyscene.runtime import ops

from ..float_steps import ConvStep, GrnStep, OpStep
from .call import Call
from .reader import Reader, Row
from .values import View

_Pair = type[ops.Add] | type[ops.Sub] | type[ops.Mul]


def _pair(op: _Pair) -> Row:
    def row(reader: Reader, call: Call) -> View:
        if float(call.arguments.get("alpha", 1)) != 1.0:
            reader.refuse(call, "a sum with a factor 'alpha'")
        return add_pair(reader, call, op(), call["self"], call["other"])

    return row


def add_pair(reader: Reader, call: Call, op: ops.Add | ops.Sub | ops.Mul, a: object, b: object) -> View:
    """Append a sum, difference or product; operands are views, tensors or numbers."""
    ranks = {len(value.shape) for value in (a, b) if isinstance(value, View)}
    rank = len(call.shape)
    if ranks != {rank}:
        reader.refuse(call, f"operands of {sorted(ranks)} axes")
    operands = tuple(
        reader.stored(value) if isinstance(value, View) else reader.constant(value, rank)  # type: ignore[arg-type]
        for value in (a, b)
    )
    if isinstance(operands[0], Tensor) and not isinstance(op, ops.Sub):
        operands = operands[::-1]
    return reader.add(call.node, OpStep(call.name, operands, op), call.shape)


def _divide(reader: Reader, call: Call) -> View:
    """Division by a constant is a product with its inverse."""
    if isinstance(call["other"], View) or call.arguments.get("rounding_mode"):
        reader.refuse(call, "a quotient of two activations, or one that is rounded")
    inverse = 1.0 / torch.as_tensor(call["other"], dtype=torch.float32)
    return add_pair(reader, call, ops.Mul(), call["self"], inverse)


def _relu(reader: Reader, call: Call) -> View:
    return limited(reader, call, None)


def _relu6(reader: Reader, call: Call) -> View:
    return limited(reader, call, 6.0)


def _clamp(reader: Reader, call: Call) -> View:
    """A limit of 0 below, and any or none above."""
    low = call.arguments.get("min", call.arguments.get("min_val"))
    high = call.arguments.get("max", call.arguments.get("max_val"))
    if low is None or float(low) != 0.0 or (high is not None and float(high) <= 0):
        reader.refuse(call, f"values limited to {low} to {high}: expected a lower limit of 0")
    return limited(reader, call, None if high is None else float(high))


def limited(reader: Reader, call: Call, ceiling: float | None) -> View:
    """ReLU, limited by the range of its output: merged with the step before it where that has one."""
    step = reader.fusible(call)
    if isinstance(step, ConvStep | GrnStep) and not step.relu:
        return reader.fuse(call, replace(step, relu=True, ceiling=ceiling))
    if isinstance(step, OpStep) and isinstance(step.op, ops.Add | ops.Sub | ops.Mul) and not step.op.relu:
        return reader.fuse(call, replace(step, op=replace(step.op, relu=True), ceiling=ceiling))
    op = ops.Lookup("relu")
    return reader.add(call.node, OpStep(call.name, (reader.stored(call.view()),), op, ceiling), call.shape)


def _function(function: str) -> Row:
    def row(reader: Reader, call: Call) -> View:
        op = ops.Lookup(function)  # type: ignore[arg-type]  # the rows below name functions of the op
        return reader.add(call.node, OpStep(call.name, (reader.stored(call.view()),), op), call.shape)

    return row


def _silu(reader: Reader, call: Call) -> View:
    """x * sigmoid(x)."""
    x, inner = call.view(), f"{call.name}.sigmoid"
    sigmoid = reader.add(call.node, OpStep(inner, (reader.stored(x),), ops.Lookup("logistic")), call.shape)
    return add_pair(reader, call, ops.Mul(), x, sigmoid)


ROWS: dict[str, Row] = {
    "add": _pair(ops.Add),
    "sub": _pair(ops.Sub),
    "mul": _pair(ops.Mul),
    "div": _divide,
    "relu": _relu,
    "relu6": _relu6,
    "hardtanh": _clamp,
    "clamp": _clamp,
    "sigmoid": _function("logistic"),
    "silu": _silu,
}
