"""Op records and shape rules: means and softmax, which combine elements along axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .shapes import (
    LARGEST_SOFTMAX,
    OpRow,
    Shape,
    of_rank,
)


@dataclass(frozen=True)
class Mean:
    """Mean over ``space`` (height and width) or over ``channels``; dropping dimensions gives (N, C)."""

    over: Literal["space", "channels"] = "space"
    keep_dims: bool = True


@dataclass(frozen=True)
class Softmax:
    """Softmax over the last axis; the output has scale 1/256 and zero point -128."""


def _mean_shape(op: Mean, x: Shape) -> Shape:
    channels = of_rank(4, x)[3]
    if op.over == "channels":
        return (*x[:3], 1) if op.keep_dims else x[:3]
    return (1, 1, 1, channels) if op.keep_dims else (1, channels)


def _softmax_shape(op: Softmax, x: Shape) -> Shape:
    if x[-1] > LARGEST_SOFTMAX:
        raise ValueError(f"row of {x[-1]} elements, expected at most {LARGEST_SOFTMAX}")
    return x


ROWS: dict[type, OpRow] = {
    Mean: OpRow("mean", _mean_shape, 1, 1),
    Softmax: OpRow("softmax", _softmax_shape, 1, 1),
}
