"""GRN's two passes over a map as one call each: the mean of the squares, and the product with the affine function.

The results are those of the graph's int8 ops. Returns None for products with a ReLU, and for 1x1 depthwise
convolutions that the fixed-point kernels do not support.
"""

from __future__ import annotations

from tinyscene.runtime.arith import square_table
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.plan import Lead

from ..emit.kernel_set import Fused
from ..emit.layers import layer_of
from ..emit.records import Fields, Layer, Macro, Values, codes_of, relu_of, table_by_rule
from .dsp_constants import folded, low_code, product_rescale
from .dsp_rows import HEADER
from .patterns import mean_of_squares, scaled_affine

TABLE_BYTES = 256


def square_mean(graph: Graph, at: int) -> Fused | None:
    """The mean over space of a tensor's squares."""
    pair = mean_of_squares(graph, at)
    if pair is None:
        return None
    square, mean = pair
    x, out, relu = graph.ins(square)[0], graph.out(square), relu_of(square)
    table = table_by_rule(lambda rule: square_table(x.quant, out.quant, relu=relu, rounding=rule))
    fields: Fields = {"mean": layer_of(graph, mean).fields, "table": table}
    layer = Layer("ts_dsp_table_mean", "TsDspTableMean", fields, header=HEADER)
    return Fused(2, (x.name,), mean.output, layer)


def gain(graph: Graph, at: int) -> Fused | None:
    """The product with one factor per channel, and the 1x1 depthwise convolution after it."""
    pair = scaled_affine(graph, at)
    if pair is None or relu_of(pair[0]):
        return None
    scale, affine = pair
    (x, factor), product = graph.ins(scale), graph.out(scale)
    channels = x.shape[3]
    rescale = product_rescale(x.quant, factor.quant, product.quant)
    constants = folded(graph, affine, codes_of(graph.ins(affine)[1]).reshape(channels, 1))
    if factor.shape != (1, 1, 1, channels) or rescale is None or constants is None:
        return None
    fields: Fields = {
        "pixels": x.shape[1] * x.shape[2],
        "channels": channels,
        "x_zero_point": x.quant.zero_point,
        "factor_zero_point": factor.quant.zero_point,
        "product_zero_point": product.quant.zero_point,
        "rescale": rescale,
        "weight": Values("int8_t", tuple(constants.weight.ravel().tolist())),
        "bias": Values("int32_t", tuple(constants.bias.tolist())),
        "rescales": Values("TsDspRescale", tuple(Macro("TS_DSP_RESCALE", entry) for entry in constants.rescale)),
        "out_zero_point": constants.out.zero_point,
        "relu": int(constants.relu),
        "low": low_code(graph, affine),
    }
    lead = Lead(x.n_bytes, in_place=True)  # channel by channel: over the input or not overlapping it
    layer = Layer("ts_dsp_gain", "TsDspGain", fields, TABLE_BYTES, HEADER, lead=lead)
    return Fused(2, scale.inputs, affine.output, layer)
