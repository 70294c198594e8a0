"""Op records and shape rules: sums, products and functions of single elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ..records import Range
from .shapes import (
    OpRow,
    Shape,
    same,
)

Function = Literal[
    "relu",
    "relu6",
    "relu_0_to_1",
    "relu_n1_to_1",
    "leaky_relu",
    "hard_swish",
    "logistic",
    "tanh",
    "elu",
    "gelu",
    "gelu_tanh",
    "exp",
    "log",
    "sqrt",
    "abs",
    "neg",
    "requantise",
]


@dataclass(frozen=True)
class Add:
    """Sum of two tensors, broadcast as NumPy does; of an activation's axes the batch is not repeated."""

    relu: bool = False


@dataclass(frozen=True)
class Sub:
    """Difference of two tensors, broadcast as in :class:`Add`."""

    relu: bool = False


@dataclass(frozen=True)
class Mul:
    """Product of two tensors, broadcast as in :class:`Add`."""

    relu: bool = False


@dataclass(frozen=True)
class SquaredDifference:
    """Square of the difference of two tensors, broadcast as in :class:`Add`."""


@dataclass(frozen=True)
class Extremum:
    """The larger or the smaller of two codes, broadcast as in :class:`Add`; all have one scale and zero point."""

    kind: Literal["max", "min"]


@dataclass(frozen=True)
class PRelu:
    """x where it is 0 or more, else x times a factor. Inputs: x, and factors that are broadcast to its shape."""


@dataclass(frozen=True)
class Rsqrt:
    """1 / sqrt(x), elementwise, for x >= 0 (the zero point is the smallest code); 0 gives the largest code."""


@dataclass(frozen=True)
class Lookup:
    """A function of one element: 256 output codes.

    ``requantise`` changes scale and zero point only; ``relu6`` keeps them; ``logistic`` has scale 1/256 and zero point
    -128, ``tanh`` 1/128 and 0. ``leaky_relu`` multiplies values below 0 by ``alpha``, which the others do not use.
    ``gelu`` is x times the normal distribution function, ``gelu_tanh`` its approximation.
    """

    function: Function
    alpha: Annotated[float, Range(-16.0, 16.0)] = 0.0


@dataclass(frozen=True)
class Table:
    """Any function of one element. Inputs: x, and its output codes for the input codes -128..127, an int8 (256,)."""


Pair = Add | Sub | Mul | SquaredDifference | Extremum


def aligned(shape: Shape, rank: int) -> Shape:
    """The shape with axes of size 1 in front, so that it has ``rank`` axes."""
    return (*(1 for _ in range(rank - len(shape))), *shape)


def _pair_shape(op: Pair, a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = list(zip(aligned(a, rank), aligned(b, rank), strict=True))
    if any(m != n and 1 not in (m, n) for m, n in pairs):
        raise ValueError(f"second operand's shape: expected one that is broadcast with {a}, got {b}")
    return tuple(max(pair) for pair in pairs)


def _prelu_shape(op: PRelu, x: Shape, alpha: Shape) -> Shape:
    rank = max(len(x), len(alpha))
    if any(n not in (1, m) for m, n in zip(aligned(x, rank), aligned(alpha, rank), strict=True)):
        raise ValueError(f"shape of the factors: expected one that is broadcast to {x}, got {alpha}")
    return x


def _elementwise_shape(op: Rsqrt | Lookup, x: Shape) -> Shape:
    return x


def _table_shape(op: Table, x: Shape, table: Shape) -> Shape:
    same(table, (256,), "shape of the table")
    return x


ROWS: dict[type, OpRow] = {
    Add: OpRow("add", _pair_shape, 2, 2),
    Sub: OpRow("sub", _pair_shape, 2, 2),
    Mul: OpRow("mul", _pair_shape, 2, 2),
    SquaredDifference: OpRow("squared_difference", _pair_shape, 2, 2),
    Extremum: OpRow("extremum", _pair_shape, 2, 2),
    PRelu: OpRow("prelu", _prelu_shape, 2, 2),
    Rsqrt: OpRow("rsqrt", _elementwise_shape, 1, 1),
    Lookup: OpRow("lookup", _elementwise_shape, 1, 1),
    Table: OpRow("table", _table_shape, 1, 2),
}
