"""Operators of PyTorch on single elements: sums, differences, products, and functions of one element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tinyscene.runtime import ops
from tinyscene.training.models.program import FUNCTIONS

from ..float_steps import ConvStep, FunctionStep, GrnStep, OpStep
from .call import Call
from .reader import Reader, Row
from .values import View, image_of, once
from .windows import depthwise

_Op = ops.Add | ops.Sub | ops.Mul | ops.Extremum
_Pair = type[ops.Add] | type[ops.Sub] | type[ops.Mul]


def _pair(op: _Pair) -> Row:
    def row(reader: Reader, call: Call) -> View:
        return add_pair(reader, call, op(), call["self"], _times_alpha(reader, call, call["other"]))

    return row


def add_pair(reader: Reader, call: Call, op: _Op, a: object, b: object, shape: tuple[int, ...] | None = None) -> View:
    """Append a sum, difference, product, maximum or minimum; operands are views, tensors or numbers.

    Elements that both operands repeat are computed once. ``shape``: of the result, if it is not the call's.
    """
    shape = call.shape if shape is None else shape
    ranks, rank = {len(value.shape) for value in (a, b) if isinstance(value, View)}, len(shape)
    if ranks != {rank}:
        reader.refuse(call, f"operands of {sorted(ranks)} axes")
    if isinstance(a, View) and (per_channel := _per_channel(op, b, a.shape)) is not None:
        return _affine(reader, call, a, *per_channel)
    if (
        isinstance(b, View)
        and not isinstance(op, ops.Sub)
        and (per_channel := _per_channel(op, a, b.shape)) is not None
    ):
        return _affine(reader, call, b, *per_channel)
    a, b = (once(value) if isinstance(value, View) else value for value in (a, b))
    operands = tuple(
        reader.stored(value) if isinstance(value, View) else reader.constant(value, rank)  # type: ignore[arg-type]
        for value in (a, b)
    )
    if isinstance(operands[0], Tensor) and not isinstance(op, ops.Sub):
        operands = operands[::-1]
    sizes = [tuple((value if isinstance(value, View) else torch.as_tensor(value)).shape) for value in (a, b)]
    small = tuple(int(n) for n in np.broadcast_shapes(*(ops.aligned(size, rank) for size in sizes)))
    y = reader.add(call.node, OpStep(reader.unique(call.name), operands, op), small)
    return View(y.name, y.positions.expand(shape)) if small != shape else y


def _per_channel(op: _Op, constant: object, shape: tuple[int, ...]) -> tuple[Tensor, Tensor | None] | None:
    """Factor and offset of the channels of a sum or product with a constant; None if it is not one per channel."""
    if isinstance(op, ops.Extremum):
        return None
    if not isinstance(constant, Tensor) or len(shape) not in (3, 4) or constant.numel() != shape[1] or shape[1] == 1:
        return None
    if ops.aligned(tuple(constant.shape), len(shape)) != (1, shape[1], *([1] * (len(shape) - 2))):
        return None
    values = constant.float().flatten()
    if isinstance(op, ops.Mul):
        return values, None
    return torch.ones(shape[1]), -values if isinstance(op, ops.Sub) else values


def _affine(reader: Reader, call: Call, x: View, factor: Tensor, offset: Tensor | None) -> View:
    """A 1x1 depthwise convolution, whose factors and offsets are exact; x has all of the result's elements."""
    step = ConvStep(reader.unique(call.name), (reader.stored(image_of(x)),), depthwise(factor, offset), (0, 0, 0, 0))
    return reader.add(call.node, step, x.shape)


def _times_alpha(reader: Reader, call: Call, value: object) -> object:
    """The second operand of a sum with its factor."""
    alpha = float(call.arguments.get("alpha", 1))
    if alpha == 1.0:
        return value
    if not isinstance(value, View):
        return torch.as_tensor(value) * alpha
    step = FunctionStep(f"{call.name}.factor", (reader.stored(value),), partial(torch.mul, torch.tensor(alpha)))
    return reader.add(call.node, step, value.shape)


def _extremum(kind: Literal["max", "min"]) -> Row:
    def row(reader: Reader, call: Call) -> View:
        return add_pair(reader, call, ops.Extremum(kind), call["self"], call["other"])

    return row


def _divide(reader: Reader, call: Call) -> View:
    """A product with the inverse, which is a table if it depends on the input."""
    if call.arguments.get("rounding_mode"):
        reader.refuse(call, "a quotient that is rounded")
    other = call["other"]
    if isinstance(other, View):
        inverse: object = inverse_of(reader, call, other)
    else:
        inverse = 1.0 / torch.as_tensor(other, dtype=torch.float32)
    return add_pair(reader, call, ops.Mul(), call["self"], inverse)


def inverse_of(reader: Reader, call: Call, x: View) -> View:
    """Append 1 / x, once for elements that x repeats; its range is what the calibration finds."""
    single = once(x)
    step = FunctionStep(
        reader.unique(f"{call.name}.inverse"), (reader.stored(single),), partial(_finite, torch.reciprocal, (), {})
    )
    y = reader.add(call.node, step, single.shape)
    return View(y.name, y.positions.expand(x.shape))


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
    return operator(x.clone(), *rest, **kwargs).nan_to_num(nan=0.0)  # an operator may modify its input


def _power(reader: Reader, call: Call) -> View:
    """A square is a product of a tensor with itself."""
    if call.arguments.get("exponent", 2) == 2:
        return add_pair(reader, call, ops.Mul(), call["self"], call["self"])
    return _table(reader, call)


def _subtract_from(reader: Reader, call: Call) -> View:
    """``other`` - ``self``."""
    return add_pair(reader, call, ops.Sub(), call["other"], _times_alpha(reader, call, call["self"]))


def _prelu(reader: Reader, call: Call) -> View:
    """One slope, or one for each channel."""
    x, slope = call.view(), call.tensor("weight")
    if slope is None:
        reader.refuse(call, "slopes that are computed from the input")
    rank = len(x.shape)
    shaped = slope.reshape(1, -1, *([1] * (rank - 2)))
    step = OpStep(call.name, (reader.stored(x), reader.constant(shaped, rank)), ops.PRelu())
    return reader.add(call.node, step, call.shape)


def _gated(reader: Reader, call: Call) -> View:
    """GLU: one half of an axis times the sigmoid of the other."""
    x = call.view()
    first, second = (View(x.name, half) for half in x.positions.chunk(2, int(call["dim"])))
    gate = OpStep(f"{call.name}.gate", (reader.stored(second),), ops.Lookup("logistic"))
    return add_pair(reader, call, ops.Mul(), first, reader.add(call.node, gate, call.shape))


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
    "prelu": _prelu,
    "glu": _gated,
    "maximum": _extremum("max"),
    "minimum": _extremum("min"),
    **dict.fromkeys(FUNCTIONS, _table),
}
