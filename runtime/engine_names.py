"""Names of the engines; apart from their code, so that help and completion load no NumPy."""

from __future__ import annotations

from typing import Literal, get_args

EngineName = Literal["litert", "litert-reference", "ort", "tflm", "numpy-double", "numpy-single"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)
