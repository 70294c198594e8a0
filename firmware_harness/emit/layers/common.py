"""The type of a row, and the fields that kernels with weights share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyscene.runtime.arith import conv_rescale
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node

from ..records import (
    Fields,
    Layer,
    Values,
    codes_of,
    output_fields,
    scales_of,
)

AXES = 3  # TS_AXES: kept, or reduced, as five axes behind the batch alternate; or those before two of a matrix

Row = Callable[[Graph, Node], Layer]


def filters(graph: Graph, node: Node, relu: bool, weight: I64) -> Fields:
    """Fields of outputs that are sums of products with weights.

    Args:
        graph: the graph.
        node: a convolution or a matrix product.
        relu: whether outputs end at their zero point.
        weight: the codes (outputs, ...) in the order of the kernel.
    """
    x, weight_t, _ = graph.ins(node)
    out = graph.out(node)
    return {
        "weight": Values("int8_t", tuple(weight.ravel().tolist())),
        "bias": Values("int32_t", folded_bias(graph, node, weight)),
        "rescale": Values("TsRescale", scales_of(conv_rescale(x.quant, weight_t.quant, out.quant))),
        "out": output_fields(out.quant, relu),
    }


def folded_bias(graph: Graph, node: Node, weight: I64) -> tuple[int, ...]:
    """Biases for bare input codes, modulo 2^32: less the zero point times the sum of ``weight`` (outputs, ...)."""
    x, _, bias = graph.ins(node)
    total = weight.reshape(len(weight), -1).sum(axis=1)
    return tuple((codes_of(bias) - x.quant.zero_point * total).astype(np.int32).tolist())


def dense(pixels: int, step: int, taps: int, channels: int, fields: Fields) -> Layer:
    """The call for windows that are contiguous in the input; ``fields``: those of :func:`filters`."""
    sizes: Fields = {"pixels": pixels, "step": step, "taps": taps, "channels": channels}
    return Layer("ts_dense", "TsDense", sizes | fields)
