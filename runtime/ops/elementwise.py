"""Op records and shape rules: sums, products and functions of single elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .shapes import (
    OpRow,
    Shape,
    same,
)


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape."""

    relu: bool = False


@dataclass(frozen=True)
class Sub:
    """Difference of two tensors of one shape."""

    relu: bool = False


@dataclass(frozen=True)
class Mul:
    """Product of x NHWC with a tensor of the same shape or of shape (1, 1, 1, C) or (1, 1, 1, 1)."""

    relu: bool = False


@dataclass(frozen=True)
class Rsqrt:
    """1 / sqrt(x), elementwise, for x >= 0 (the zero point is the smallest code); 0 gives the largest code."""


@dataclass(frozen=True)
class Lookup:
    """A function of one element: 256 output codes.

    ``requantise`` changes scale and zero point only; ``relu6`` keeps them; ``logistic`` has scale 1/256 and zero point
    -128.
    """

    function: Literal["relu", "relu6", "logistic", "requantise"]


def _pair_shape(op: Add | Sub, a: Shape, b: Shape) -> Shape:
    same(b, a, "second operand's shape")
    return a


def _mul_shape(op: Mul, a: Shape, b: Shape) -> Shape:
    if b != a and (len(a) != 4 or b not in ((1, 1, 1, a[3]), (1, 1, 1, 1))):
        raise ValueError(f"second factor's shape: expected {a}, (1, 1, 1, C) or (1, 1, 1, 1), got {b}")
    return a


def _elementwise_shape(op: Rsqrt | Lookup, x: Shape) -> Shape:
    return x


ROWS: dict[type, OpRow] = {
    Add: OpRow("add", _pair_shape, 2, 2),
    Sub: OpRow("sub", _pair_shape, 2, 2),
    Mul: OpRow("mul", _mul_shape, 2, 2),
    Rsqrt: OpRow("rsqrt", _elementwise_shape, 1, 1),
    Lookup: OpRow("lookup", _elementwise_shape, 1, 1),
}
