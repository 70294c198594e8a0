"""Reference kernels: one NumPy function per op, exact under both rounding rules.

Each takes the node's input arrays (any batch) and returns the int8 output. Convolutions run as matrix products in the
smallest float type in which every partial sum is an exact integer. They are not optimised further; optimised code
elsewhere is compared with them.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import ops
from ..arrays import I64
from ..graph import Graph, Node
from . import elementwise, movement, products, recurrent, reductions, windows
from .common import Arrays, Kernel
from .elementwise import operands
from .products import fully_connected_accumulator
from .windows import conv2d_accumulator, depthwise_accumulator, transposed_accumulator

__all__ = [
    "ACCUMULATORS",
    "KERNELS",
    "Arrays",
    "Kernel",
    "fully_connected_accumulator",
    "operands",
]

KERNELS: dict[type, Kernel] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **recurrent.ROWS,
    **movement.ROWS,
}
# Int64 accumulators of layers with weights, bias included.
ACCUMULATORS: dict[type, Callable[[Graph, Node, Arrays], I64]] = {
    ops.Conv2D: conv2d_accumulator,
    ops.DepthwiseConv2D: depthwise_accumulator,
    ops.TransposeConv2D: transposed_accumulator,
    ops.FullyConnected: fully_connected_accumulator,
}
