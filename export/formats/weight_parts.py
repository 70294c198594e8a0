"""Weights that leave int8, such as uint8 ones minus their zero point, as a sum of int8 weights of the same input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import I8


def parts_of(weight: npt.NDArray[np.integer]) -> list[I8]:
    """int8 arrays whose sum is the weight."""
    parts = [np.clip(weight, -128, 127).astype(np.int8)]
    while (rest := weight - np.sum(parts, axis=0, dtype=np.int16)).any():
        parts.append(np.clip(rest, -128, 127).astype(np.int8))
    return parts
