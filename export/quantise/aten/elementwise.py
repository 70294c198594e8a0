"""Operators of PyTorch on single elements: sums, differences, products, and functions of one element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinyscene.runtime import ops

from ..float_steps import ConvStep, FunctionStep, GrnStep, OpStep
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
    """A limit of 0 below, and any or none above, is a ReLU; other limits are a table."""
    low = call.arguments.get("min", call.arguments.get("min_val"))
    high = call.arguments.get("max", call.arguments.get("max_val"))
    if isinstance(low, View) or isinstance(high, View):
        reader.refuse(call, "limits that are computed from the input")
    if low is None or float(low) != 0.0 or (high is not None and float(high) <= 0):
        return _table(reader, call)
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


def _leaky_relu(reader: Reader, call: Call) -> View:
    op = ops.Lookup("leaky_relu", float(np.float32(call["negative_slope"])))
    return reader.add(call.node, OpStep(call.name, (reader.stored(call.view()),), op), call.shape)


def _table(reader: Reader, call: Call) -> View:
    """Any other function of one element, as PyTorch computes it; a value that is not a number becomes 0."""
    operator = call.node.target
    assert callable(operator)
    apply = partial(_finite, operator, call.node.args[1:], dict(call.node.kwargs))
    return reader.add(call.node, FunctionStep(call.name, (reader.stored(call.view()),), apply), call.shape)


def _finite(operator: Callable[..., Tensor], rest: tuple[Any, ...], kwargs: dict[str, Any], x: Tensor) -> Tensor:
    return operator(x, *rest, **kwargs).nan_to_num(nan=0.0)


def _power(reader: Reader, call: Call) -> View:
    """A square is a product of a tensor with itself."""
    if call.arguments.get("exponent", 2) == 2:
        return add_pair(reader, call, ops.Mul(), call["self"], call["self"])
    return _table(reader, call)


def _subtract_from(reader: Reader, call: Call) -> View:
    """``other`` - ``self``."""
    return add_pair(reader, call, ops.Sub(), call["other"], call["self"])


# Functions that every engine computes in one way only as a table of codes.
_TABLES = "silu gelu elu selu celu hardsigmoid mish softplus softsign exp abs neg sqrt sin cos atan erf log_sigmoid"


ROWS: dict[str, Row] = {
    "add": _pair(ops.Add),
    "sub": _pair(ops.Sub),
    "mul": _pair(ops.Mul),
    "div": _divide,
    "relu": _relu,
    "relu6": _relu6,
    "hardtanh": _clamp,
    "clamp": _clamp,
    "rsub": _subtract_from,
    "square": _power,
    "pow": _power,
    "sigmoid": _function("logistic"),
    "tanh": _function("tanh"),
    "hardswish": _function("hard_swish"),
    "leaky_relu": _leaky_relu,
    **dict.fromkeys(_TABLES.split(), _table),
}
