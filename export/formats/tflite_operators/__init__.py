"""One reader for each TFLite operator that can be converted to nodes of the integer graph.

Operators without an equivalent are lowered exactly: a depthwise convolution with several outputs per input channel to a
convolution with zeros, a transpose or a slice that moves no element to a reshape, a mirrored pad to slices and a
concatenation, a fused activation that the op lacks to a look-up after it. Refuses dilation, weights that are not
constant, batches, and windows that need more padding than an activation may have
elements.
"""

from __future__ import annotations

from . import elementwise, movement, products, reductions, resizes, slices, windows
from .common import Row

READERS: dict[str, Row] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **movement.ROWS,
    **slices.ROWS,
    **resizes.ROWS,
}
