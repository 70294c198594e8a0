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


@dataclass(frozen=True)
class BatchMatMul:
    """Products of the matrices in the last two axes of two activations. Inputs: x (1, ..., M, K), y (1, ..., K, N).

    ``adj_x``: x is (1, ..., K, M); ``adj_y``: y is (1, ..., N, K). The other axes are broadcast.
    """

    adj_x: bool = False
    adj_y: bool = False


def matrix(shape: Shape, transposed: bool) -> tuple[int, int]:
    """Rows and columns of an operand of a batch matrix product."""
    rows, columns = shape[-2:]
    return (columns, rows) if transposed else (rows, columns)


def _batch_matmul_shape(op: BatchMatMul, x: Shape, y: Shape) -> Shape:
    if len(x) < 3 or len(y) != len(x):
        raise ValueError(f"shapes {x} and {y}, expected three axes or more, of both the same")
    (rows, depth), (inner, columns) = matrix(x, op.adj_x), matrix(y, op.adj_y)
    same(inner, depth, "rows of the second matrix")
    if any(m != n and 1 not in (m, n) for m, n in zip(x[:-2], y[:-2], strict=True)):
        raise ValueError(f"second operand's leading axes: expected ones that are broadcast with {x}, got {y}")
    return (*(max(pair) for pair in zip(x[:-2], y[:-2], strict=True)), rows, columns)


def _fully_connected_shape(op: FullyConnected, x: Shape, weight: Shape, bias: Shape) -> Shape:
    outputs, inputs = of_rank(2, weight)
    if len(x) < 2:
        raise ValueError(f"shape {x}, expected two axes or more")
    same(x[-1], inputs, "elements of a row")
    same(bias, (outputs,), "bias shape")
    return (*x[:-1], outputs)


ROWS: dict[type, OpRow] = {
    FullyConnected: OpRow("fully_connected", _fully_connected_shape, 1, 3),
    BatchMatMul: OpRow("batch_matmul", _batch_matmul_shape, 2, 2),
}
