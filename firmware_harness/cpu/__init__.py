"""The kernel sets there are, by name. One module each; targets name theirs."""

from __future__ import annotations

from ..kernel_sets import PORTABLE, KernelSet
from .dsp import DSP
from .mve import MVE

KERNEL_SETS: dict[str, KernelSet] = {kernels.name: kernels for kernels in (PORTABLE, DSP, MVE)}
