"""Operators of PyTorch (ATen) and the steps that they become: one file for each family of ops.

A row takes the reader and a call, and returns the call's result. An operator without a row is refused by its name.
"""

from __future__ import annotations

from . import elementwise, movement, normalisations, pools, products, recurrent, reductions, windows
from .reader import Reader, Row

ROWS: dict[str, Row] = {
    **windows.ROWS,
    **pools.ROWS,
    **normalisations.ROWS,
    **products.ROWS,
    **recurrent.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **movement.ROWS,
}

__all__ = ["ROWS", "Reader"]
