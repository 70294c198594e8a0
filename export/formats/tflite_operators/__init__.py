"""One reader for each TFLite operator that can be converted to nodes of the integer graph.

Operators without an equivalent are lowered exactly: a convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND to a
dilated one, a transpose or a slice that moves no element to a reshape, a mirrored pad to slices and a concatenation, a
fused activation that the op lacks to a look-up after it. Refuses weights that are not constant, batches, windows that
need more padding than an activation may have elements, and a fused RELU6 that engines clip differently.
"""

from __future__ import annotations

from . import dilation, elementwise, movement, products, recurrent, reductions, resizes, slices, windows
from .common import Row

READERS: dict[str, Row] = {
    **windows.ROWS,
    **dilation.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **recurrent.ROWS,
    **movement.ROWS,
    **slices.ROWS,
    **resizes.ROWS,
}
