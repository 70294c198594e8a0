"""What kernels of several families share: codes without zero point, and accumulators as output codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ops
from ..accumulators import wraps_around
from ..arith import (
    Rounding,
    conv_rescale,
    requantise,
    weight_rescale,
)
from ..arrays import I8, I64
from ..graph import Graph, Node

Arrays = tuple[npt.NDArray[Any], ...]

Kernel = Callable[[Graph, Node, Arrays, Rounding], I8]

EXACT_F32 = 2**24  # integers below this are exact in float32, and so are sums that stay below it


def centred(x: I8, zero_point: int, pads: ops.Pads, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Codes minus zero point, padded with zeros (the code of real 0)."""
    values = x.astype(dtype)
    if zero_point:
        values -= zero_point
    if any(pads):
        values = np.pad(values, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)))
    return values


def requantised(graph: Graph, node: Node, acc: I64, rounding: Rounding) -> I8:
    """Accumulators of convolutions and products, modulo int32, times s_a * s_b / s_out, as output codes."""
    if wraps_around(graph, node):
        acc = acc.astype(np.int32).astype(np.int64)
    a, b, *_ = graph.ins(node)
    out = graph.out(node).quant
    relu = ops.has_relu(node.op)
    one_product = isinstance(node.op, ops.FullyConnected)
    rescale = weight_rescale(a.quant, b.quant, out) if one_product else conv_rescale(a.quant, b.quant, out)
    return requantise(acc, rescale, out, relu=relu, rounding=rounding)


def i64(value: int) -> I64:
    return np.asarray(value, np.int64)
