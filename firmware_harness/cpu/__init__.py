"""The kernel sets there are, by name. One module each; targets name theirs."""

from __future__ import annotations

from ..emit.kernel_set import PORTABLE, KernelSet
from ..errors import FirmwareError
from .dsp import DSP
from .mve import MVE

KERNEL_SETS: dict[str, KernelSet] = {kernels.name: kernels for kernels in (PORTABLE, DSP, MVE)}


def kernel_set(name: str) -> KernelSet:
    """The set of that name.

    Raises:
        FirmwareError: there is none.
    """
    from ..cpu import KERNEL_SETS

    if name not in KERNEL_SETS:
        raise FirmwareError("kernel set", "unknown", expected=" or ".join(KERNEL_SETS), got=name)
    return KERNEL_SETS[name]
