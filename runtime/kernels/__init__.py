"""Reference kernels: one NumPy function per op, exact under both rounding rules.

Each takes the node's input arrays (any batch) and returns the int8 output. Convolutions run as matrix products in the
smallest float type in which every partial sum is an exact integer. They are not optimised further; optimised code
elsewhere is compared with them.
"""

from __future__ import annotations

from . import elementwise, movement, products, recurrent, reductions, windows
from .common import Arrays, Kernel
from .elementwise import operands
from .products import fully_connected_accumulator
from .windows import conv2d_accumulator, depthwise_accumulator, transposed_accumulator

__all__ = [
    "KERNELS",
    "Arrays",
    "Kernel",
    "conv2d_accumulator",
    "depthwise_accumulator",
    "fully_connected_accumulator",
    "operands",
    "transposed_accumulator",
]

KERNELS: dict[type, Kernel] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **recurrent.ROWS,
    **movement.ROWS,
}
