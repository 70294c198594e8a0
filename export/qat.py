"""Quantisation-aware training."""

from __future__ import annotations

from .ptq import calibrate
from .quantnet import QuantNet

__all__ = ["QuantNet", "calibrate"]
