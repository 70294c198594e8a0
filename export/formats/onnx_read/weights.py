"""Weights and biases of the current node, as the graph stores them.

Refuses weights that are computed, or not of 8 bits around 0, and biases beyond 32 bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Quant

from ..weight_parts import parts_of
from .builder import Array, OnnxGraphBuilder
from .values import Bias, Constant, Pending, QuantConstant


def real_bias(b: OnnxGraphBuilder, position: int, channels: int) -> Array | None:
    """The real bias (channels,) of the current node, float64, or None."""
    if not b.has(position):
        return None
    value = b.value(position)
    if not isinstance(value, Constant | QuantConstant):
        b.refuse("bias", expected="a constant", got=f"'{b.current.input[position]}', computed")
    if isinstance(value, QuantConstant):
        return np.broadcast_to(value.codes * value.scale.astype(np.float64), (channels,)).copy()
    return np.broadcast_to(value.values.astype(np.float64).ravel(), (channels,)).copy()


def add_weights(
    b: OnnxGraphBuilder,
    names: tuple[str, str],
    x: Quant,
    weight: QuantConstant,
    channel_axis: int,
    bias: Array | None,
    pending: Pending,
) -> tuple[str, str]:
    """Store weight and bias of a layer.

    Args:
        names: of weight and bias.
        weight: in the layout of the graph.
        bias: real values (channels,), or None.
        pending: the result, whose factor goes into the scales, and whose bias is added.
    """
    channels = weight.codes.shape[channel_axis]
    real = np.zeros(channels) if bias is None else bias
    if pending.factor is not None:
        weight, real = _multiplied(weight, pending.factor, channel_axis), real * pending.factor
    real = real if pending.bias is None else real + pending.bias
    low, high = int(weight.codes.min()), int(weight.codes.max())
    if weight.axis not in (None, channel_axis) or low < -128 or high > 127:
        got = f"codes {low} to {high}, scales along axis {weight.axis}"
        b.refuse("limit: weight", expected="codes of int8 with one scale, or one per output channel", got=got)
    scale = np.broadcast_to(weight.scale, channels).astype(np.float32)
    bias_scale = np.float32(x.scale[0]) * scale
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.rint(np.nan_to_num(real / bias_scale.astype(np.float64)))
    if np.abs(codes).max() >= 2**31:
        b.refuse("bias", expected="32-bit codes of input scale times weight scale", got=f"{np.abs(codes).max():g}")
    quant, bias_quant = Quant.per_channel(scale, channel_axis), Quant.per_channel(bias_scale, 0)
    return (
        b.stored(names[0], "int8", quant, weight.codes),
        b.stored(names[1], "int32", bias_quant, codes),
    )


def _multiplied(weight: QuantConstant, factor: Bias, channel_axis: int) -> QuantConstant:
    """Each output channel times a real number: its scale, and where that is negative its codes."""
    shape = [1] * weight.codes.ndim
    shape[channel_axis] = -1
    scale = (weight.scale * np.abs(factor)).astype(np.float32)
    return QuantConstant(weight.codes * np.sign(factor).astype(np.int64).reshape(shape), scale, channel_axis)


def narrow(b: OnnxGraphBuilder, x: str, weight: QuantConstant) -> tuple[str, QuantConstant]:
    """Input and weight of a sum over the last axis of both, whose codes may leave int8, in codes that do not.

    The input gets a copy of its channels for each part of the weight, so that the sum is the same.
    """
    parts = parts_of(weight.codes)
    if len(parts) > 1:
        tensor = b.tensors[x]
        x = b.node(b.added("copies"), ops.Concat(len(tensor.shape) - 1), (x,) * len(parts), tensor.quant)
        weight = replace(weight, codes=np.concatenate(parts, axis=-1).astype(np.int64))
    return x, weight


def narrow_depthwise(b: OnnxGraphBuilder, x: str, weight: QuantConstant) -> tuple[str, QuantConstant]:
    """As :func:`narrow`, of one group for each channel: the copies of a channel are side by side."""
    parts, tensor = parts_of(weight.codes), b.tensors[x]
    shape, count = tensor.shape, len(parts)
    last = b.node(b.added("last"), ops.Reshape((*shape, 1)), (x,), tensor.quant)
    copies = b.node(b.added("copies"), ops.Concat(4), (last,) * count, tensor.quant)
    flat = b.node(b.added("side_by_side"), ops.Reshape((*shape[:3], shape[3] * count)), (copies,), tensor.quant)
    codes = np.stack([part[0].transpose(2, 0, 1) for part in parts], axis=-1).astype(np.int64)
    return flat, QuantConstant(codes, weight.scale, None if weight.axis is None else 0)


def quantised_weight(b: OnnxGraphBuilder, position: int) -> QuantConstant:
    value = b.value(position)
    if not isinstance(value, QuantConstant):
        got = "computed" if not isinstance(value, Constant) else f"{value.values.dtype.name}"
        b.refuse("weight", expected="a constant behind DequantizeLinear", got=got)
    return value
