"""Sums, products, means, lookups and 1x1 depthwise convolutions for Helium, and the fused pairs of them in GRN.

Returns None, so that the portable kernel runs, for rescaling factors of one half and above.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    Rounding,
    add_double,
    add_single,
    clamp_range,
    conv_rescale,
    requantise,
    square_table,
)
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Node, Tensor
from tinyscene.runtime.plan import Lead

from ..emit.kernel_set import Fused
from ..emit.layers import layer_of
from ..emit.records import (
    ByRule,
    Fields,
    Layer,
    Scale,
    Values,
    codes_of,
    lookup_layer,
    output_fields,
    relu_of,
    scales_of,
    table_by_rule,
)
from .mve_windows import HEADER, LANES, constants, moved_bias, shifts_right
from .patterns import mean_of_squares, scaled_affine

HEADROOM_BITS = 20  # fractional bits of the fixed-point sum
LOWEST_CODE = -128
MOST_AVERAGED = 5000  # codes whose average is exact


def in_place(out: Tensor) -> Lead:
    """Lead of a kernel that reads each code of the first input before it writes the output code at that address."""
    return Lead(out.n_bytes, in_place=True)


def add(graph: Graph, node: Node) -> Layer | None:
    """A sum of two tensors of one shape; not one that is 0 for all codes, whose factor has no right shift."""
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Add)
    if a.shape != b.shape:
        return None
    swapped = b.quant.scale[0] > a.quant.scale[0]
    coarse, other = (b, a) if swapped else (a, b)
    d = add_double(coarse.quant, other.quant, out.quant)
    s = add_single(coarse.quant, other.quant, out.quant)
    assert (d.multiplier_a, d.shift_a) == (2**30, 0)
    if d.shift_out >= 0:
        return None
    to_right = int(d.shift_b == 0)  # a factor of one half is one more fractional bit
    factor = 1 << (HEADROOM_BITS + to_right)
    double: Fields = {
        "offset": -(coarse.quant.zero_point << (HEADROOM_BITS - 1)),
        "other_factor": factor,
        "other_offset": -other.quant.zero_point * factor,
        "other_rescale": Scale(d.multiplier_b, d.shift_b - to_right),
        "rescale": Scale(d.multiplier_out, d.shift_out),
    }
    single: Fields = {
        "multiplier": s.multiplier_a,
        "other_multiplier": s.multiplier_b,
        "bias": s.bias,
        "shift": s.shift,
    }
    fields: Fields = {
        "size": out.n_bytes,
        "swapped": int(swapped),
        "by_rule": ByRule(double, single),
        "out": output_fields(out.quant, op.relu),
    }
    return Layer("ts_mve_add", "TsMveAdd", fields, header=HEADER, lead=in_place(out))


def mul(graph: Graph, node: Node) -> Layer | None:
    """A product of two tensors, the second of which is repeated whole or is one element; a square is a lookup."""
    if node.inputs[0] == node.inputs[1]:
        return lookup(graph, node)
    (a, b), out, layer = graph.ins(node), graph.out(node), layer_of(graph, node)
    if layer.kernel != "ts_mul" or not shifts_right(conv_rescale(a.quant, b.quant, out.quant)):
        return None
    return replace(layer, kernel="ts_mve_mul", header=HEADER, lead=in_place(out))


def mean(graph: Graph, node: Node) -> Layer | None:
    """A mean or a sum over the last axes, or over all axes before one that is kept, as space is before channels."""
    op, portable = node.op, layer_of(graph, node)
    assert isinstance(op, ops.Reduce)
    if portable.kernel != "ts_mean":
        return None
    last = len(graph.ins(node)[0].shape) - 1
    return replace(portable, kernel="ts_mve_mean_of_channels" if last in op.axes else "ts_mve_mean", header=HEADER)


def pool(graph: Graph, node: Node) -> Layer | None:
    """The largest or the average code of a window."""
    op, layer = node.op, layer_of(graph, node)
    assert isinstance(op, ops.Pool2D)
    if op.kind == "average" and math.prod(op.kernel) > MOST_AVERAGED:
        return None
    return replace(layer, kernel=f"ts_mve_{op.kind}_pool", header=HEADER)


def lookup(graph: Graph, node: Node) -> Layer:
    """An op whose portable kernel is a lookup."""
    return replace(layer_of(graph, node), kernel="ts_mve_lookup", header=HEADER, lead=in_place(graph.out(node)))


def affine(graph: Graph, node: Node) -> Layer | None:
    """A depthwise convolution of kernel 1x1; a lookup if all channels have the same constants."""
    op, (x, weight, bias), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    rescale = conv_rescale(x.quant, weight.quant, out.quant)
    if _equal_channels(graph, node):
        table = lookup_layer(out, lambda rule: _affine_table(graph, node, rule))
        return replace(table, kernel="ts_mve_lookup", header=HEADER, lead=in_place(out))
    if not shifts_right(rescale):
        return None
    taps = codes_of(weight).reshape(-1)
    moved = moved_bias(codes_of(bias), taps[:, None], x.quant.zero_point)
    fields: Fields = {
        "pixels": out.shape[1] * out.shape[2],
        "channels": out.shape[3],
        "constants": constants(rescale, moved, taps, side_by_side=4),
        "out": output_fields(out.quant, op.relu),
    }
    return Layer("ts_mve_affine", "TsMveAffine", fields, header=HEADER, lead=in_place(out))


def _equal_channels(graph: Graph, node: Node) -> bool:
    """Whether all channels have the same weight, bias and scale."""
    _, weight, bias = graph.ins(node)
    rows = zip(codes_of(weight).ravel().tolist(), codes_of(bias).tolist(), weight.quant.scale, strict=True)
    return len(set(rows)) == 1


def _affine_table(graph: Graph, node: Node, rounding: Rounding) -> I8:
    """int8 (256,): the output code of each input code from -128 on, by the first channel's constants."""
    (x, weight, bias), out = graph.ins(node), graph.out(node)
    acc = (np.arange(-128, 128) - x.quant.zero_point) * codes_of(weight).ravel()[0] + codes_of(bias)[0]
    rescale = conv_rescale(x.quant, replace(weight.quant, scale=weight.quant.scale[:1]), out.quant)
    return requantise(acc, rescale, out.quant, relu=relu_of(node), rounding=rounding)


def square_mean(graph: Graph, at: int) -> Fused | None:
    """Mean over space of the squares."""
    pair = mean_of_squares(graph, at)
    layer = mean(graph, pair[1]) if pair else None
    if pair is None or layer is None:
        return None
    square, power = pair
    (x, _), out, relu = graph.ins(square), graph.out(square), relu_of(square)
    table = _bytewise(lambda rule: square_table(x.quant, out.quant, relu=relu, rounding=rule))
    fields: Fields = {"mean": layer.fields, "table": table}
    fused = Layer("ts_mve_lookup_mean", "TsMveLookupMean", fields, header=HEADER)
    return Fused(2, (x.name,), power.output, fused)


def scaled(graph: Graph, at: int) -> Fused | None:
    """A product and an affine function: by lookup if it is the same for all channels, else with a bias per channel."""
    pair = scaled_affine(graph, at)
    layer = mul(graph, pair[0]) if pair else None
    if pair is None or layer is None or layer.kernel != "ts_mve_mul":
        return None
    product, following = pair
    fused = _with_table(graph, product, following, layer) or _with_affine(graph, product, following, layer)
    return None if fused is None else Fused(2, product.inputs, following.output, fused)


def _with_table(graph: Graph, product: Node, following: Node, layer: Layer) -> Layer | None:
    if not _equal_channels(graph, following):
        return None
    low, _ = clamp_range(graph.out(product).quant, relu_of(product))
    table = _bytewise(lambda rule: _affine_table(graph, following, rule)[np.maximum(np.arange(-128, 128), low) + 128])
    fields: Fields = {"mul": layer.fields, "table": table}
    return Layer("ts_mve_mul_lookup", "TsMveMulLookup", fields, header=HEADER, lead=layer.lead)


def _with_affine(graph: Graph, product: Node, following: Node, layer: Layer) -> Layer | None:
    (x, weight, bias), out = graph.ins(following), graph.out(following)
    low, _ = clamp_range(x.quant, relu_of(product))
    taps = codes_of(weight).ravel()
    rescale = conv_rescale(x.quant, replace(weight.quant, scale=weight.quant.scale[:1]), out.quant)
    same_slope = len(set(zip(taps.tolist(), weight.quant.scale, strict=True))) == 1
    per_channel = layer.fields["size"] == out.shape[3]
    if not (same_slope and per_channel and low == LOWEST_CODE and shifts_right(rescale)):
        return None
    moved = moved_bias(codes_of(bias), taps[:, None], x.quant.zero_point)
    fours = np.pad(moved, (0, -len(moved) % LANES)).reshape(-1, 4, 4)  # sixteen channels as four by four
    fields: Fields = {
        "mul": layer.fields,
        "weight": int(taps[0]),
        "rescale": scales_of(rescale)[0],
        "bias": Values("int32_t", tuple(fours[:, :, [0, 2, 1, 3]].swapaxes(1, 2).ravel().tolist())),
        "out": output_fields(out.quant, relu_of(following)),
    }
    return Layer("ts_mve_mul_affine", "TsMveMulAffine", fields, header=HEADER, lead=layer.lead)


def _bytewise(table: Callable[[Rounding], I8]) -> ByRule:
    """A table indexed by unsigned bytes: code 0 first, negative codes after 127."""
    return table_by_rule(lambda rule: np.roll(table(rule), 128))
