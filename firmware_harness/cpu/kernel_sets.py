"""Every kernel set by name. One module each; a target names its own. Refuses unknown names."""

from __future__ import annotations

from ..emit.kernel_set import PORTABLE, KernelSet
from ..errors import FirmwareError
from .dsp import DSP
from .mve import MVE

KERNEL_SETS: dict[str, KernelSet] = {kernels.name: kernels for kernels in (PORTABLE, DSP, MVE)}


def kernel_set_named(name: str) -> KernelSet:
    """Return the kernel set of that name.

    Raises:
        FirmwareError: the name is unknown.
    """
    if name not in KERNEL_SETS:
        raise FirmwareError("kernel set", "unknown", expected=" or ".join(KERNEL_SETS), got=name)
    return KERNEL_SETS[name]
