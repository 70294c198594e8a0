"""Types and bounds of shapes and attributes, and the row that an op has in the table.

Shape rules raise ValueError for inputs that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from ..records import Length, Range

# A tensor has at most 4 Mi elements: the SRAM of the largest emulated Cortex-M, and 256 MiB for eight int64 arrays of
# the NumPy interpreter. The other bounds follow: no side of it, no window and no step between windows is longer.
LARGEST_TENSOR_ELEMENTS = 2**22

HIGHEST_RANK = 6  # of TFLite Micro's and XNNPACK's shapes

Side = Annotated[int, Range(1, LARGEST_TENSOR_ELEMENTS)]

Step = Annotated[int, Range(1, 2**15)]

Pad = Annotated[int, Range(0, 2**15)]

Shape = Annotated[tuple[Side, ...], Length(1, HIGHEST_RANK)]

Stride = tuple[Step, Step]

Pads = tuple[Pad, Pad, Pad, Pad]  # top, left, bottom, right

LARGEST_LOG_SOFTMAX = 4095  # elements of a row, whose exponentials sum to less than 2^12, the range of the fixed point

LARGEST_SUM_OF_SQUARES = 2**15  # elements of a row, whose squares of at most 255^2 sum to less than 2^31

LARGEST_WINDOWS = 2**24  # elements of all windows of one op, which the interpreter holds at once: 128 MiB in float64


def of_rank(rank: int, shape: Shape) -> Shape:
    if len(shape) != rank:
        raise ValueError(f"shape {shape}, expected {rank} axes")
    return shape


def same(got: object, expected: object, what: str) -> None:
    if got != expected:
        raise ValueError(f"{what}: expected {expected}, got {got}")


@dataclass(frozen=True)
class OpRow:
    """Name and shape rule of an op, as the graph needs them."""

    name: str
    shape: Callable[..., Shape]  # output shape from the op and its input shapes
    n_activations: int | None  # leading inputs that are activations; the rest are weight and bias; None: all
    n_inputs: int | None  # None: as many as the shape rule takes
