"""Op records and shape rules: matrix products."""

from __future__ import annotations

from dataclasses import dataclass

from .shapes import (
    OpRow,
    Shape,
    of_rank,
    same,
)


@dataclass(frozen=True)
class FullyConnected:
    """Matrix product of each row of x. Inputs: x (1, ..., K), weight (O, K), bias int32 (O,).

    If the weight has one scale for all outputs, the product of input and weight scale is rounded to float32; that of a
    1x1 convolution is not.
    """

    relu: bool = False


def _fully_connected_shape(op: FullyConnected, x: Shape, weight: Shape, bias: Shape) -> Shape:
    outputs, inputs = of_rank(2, weight)
    if len(x) < 2:
        raise ValueError(f"shape {x}, expected two axes or more")
    same(x[-1], inputs, "elements of a row")
    same(bias, (outputs,), "bias shape")
    return (*x[:-1], outputs)


ROWS: dict[type, OpRow] = {FullyConnected: OpRow("fully_connected", _fully_connected_shape, 1, 3)}
