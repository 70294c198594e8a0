"""Array types for signatures, whose docstrings have the shapes; and the scale of 16-bit audio."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

INT16_FULL_SCALE = 32768  # int16 samples divided by it are floats in [-1, 1)


def array_of(values: object) -> npt.NDArray[Any]:
    """What a caller gave for an array; rows of different lengths become a single object, which is no number."""
    try:
        return np.asarray(values)
    except ValueError:
        return np.asarray(None)
