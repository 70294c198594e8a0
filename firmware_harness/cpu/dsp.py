"""Kernel set for Cortex-M4, M7 and M33: two 16-bit products per instruction."""

from __future__ import annotations

from tinyscene.runtime import ops

from ..emit.kernel_set import C_FOLDER, KernelSet
from .dsp_blocks import inverted_residual, narrow_inverted_residual
from .dsp_grn import gain, square_mean
from .dsp_rows import add, clip, conv2d, depthwise, fully_connected, mul

DSP = KernelSet(
    "dsp",
    C_FOLDER / "dsp",
    rows={
        ops.Conv2D: conv2d,
        ops.DepthwiseConv2D: depthwise,
        ops.Add: add,
        ops.Mul: mul,
        ops.Lookup: clip,
        ops.Table: clip,
        ops.FullyConnected: fully_connected,
    },
    fusers=(inverted_residual, square_mean, gain),
    lean_fusers=(narrow_inverted_residual,),
)
