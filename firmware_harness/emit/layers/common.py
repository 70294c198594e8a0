"""The type of a row, and the fields that convolutions and matrix products share."""

from __future__ import annotations

from collections.abc import Callable

from tinyscene.runtime.arith import (
    conv_rescale,
)
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


def convolved(graph: Graph, node: Node, relu: bool) -> Fields:
    x, weight, bias = graph.ins(node)
    out = graph.out(node)
    scales = scales_of(conv_rescale(x.quant, weight.quant, out.quant))
    return {
        "in_zero_point": x.quant.zero_point,
        "weight": Values("int8_t", tuple(codes_of(weight).ravel().tolist())),
        "bias": Values("int32_t", tuple(codes_of(bias).ravel().tolist())),
        "rescale": Values("TsRescale", scales),
        "out": output_fields(out.quant, relu),
    }
