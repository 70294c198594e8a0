"""Readers of QuantizeLinear and DequantizeLinear, and of nodes that do nothing.

int8 codes are the graph's, uint8 codes are 128 above them. Refuses other types, blocks, activations with a scale per
channel, and weights that are not symmetric.
"""

from __future__ import annotations

import numpy as np
import onnx

from tinyscene.runtime.graph import Quant

from .builder import Array, OnnxGraphBuilder
from .values import Codes, Constant, Indices, Pending, QuantConstant

_REALS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
_OFFSET = {"int8": 0, "uint8": 128}


def stated_quant(b: OnnxGraphBuilder, scale_at: int, zero_point_at: int, dtype: str = "") -> Quant:
    """Scale and zero point of an activation, from two constant inputs; the type is the zero point's."""
    scale = b.constant(scale_at)
    zero_point = b.constant(zero_point_at) if b.has(zero_point_at) else np.zeros(1, dtype or "uint8")
    if scale.size != 1 or zero_point.size != 1:
        b.refuse("activation with a scale per channel or block", expected="one scale", got=scale.size)
    if zero_point.dtype.name not in _OFFSET:
        b.refuse("limit: type of the codes", expected="int8 or uint8", got=zero_point.dtype.name)
    return Quant.per_tensor(float(scale.ravel()[0]), int(zero_point.ravel()[0]) - _OFFSET[zero_point.dtype.name])


def _quantize(b: OnnxGraphBuilder) -> None:
    value = b.value(0)
    if isinstance(value, Constant):
        b.result(Constant(_codes(b, value.values)))
        return
    dtype = "uint8"
    if not b.has(2) and "output_dtype" in b.attributes():
        dtype = {2: "uint8", 3: "int8"}.get(b.attributes()["output_dtype"], "another type")
    if isinstance(value, QuantConstant):
        b.result(Constant(_codes(b, value.real)))
        return
    b.dtypes[b.title] = b.constant(2).dtype.name if b.has(2) else dtype
    b.result(b.quantised(value, stated_quant(b, 1, 2, dtype)))


def _cast(b: OnnxGraphBuilder) -> None:
    """Codes as integers, which only a table reads; of real numbers to real numbers nothing."""
    name = b.current.input[0]
    if name not in b.dtypes and b.attributes().get("to") in _REALS:
        b.result(b.value(0))
        return
    if name not in b.dtypes:
        b.refuse("limit: cast of what is not codes", expected="the result of QuantizeLinear", got=f"'{name}'")
    b.result(Indices(b.codes(0), b.dtypes[name]))


def _codes(b: OnnxGraphBuilder, real: Array) -> Array:
    """A constant, such as a float weight, as codes: round half to even in float32, saturated."""
    scale = b.constant(1).astype(np.float32)
    zero_point = b.constant(2) if b.has(2) else np.zeros((), np.uint8)
    shape = [1] * real.ndim
    if scale.size > 1:
        shape[b.attributes().get("axis", 1)] = -1
    limits = np.iinfo(zero_point.dtype)
    codes = np.rint(real.astype(np.float32) / scale.reshape(shape)) + zero_point.reshape(shape).astype(np.float32)
    saturated: Array = np.clip(codes, limits.min, limits.max).astype(zero_point.dtype)
    return saturated


def _dequantize(b: OnnxGraphBuilder) -> None:
    value = b.value(0)
    if isinstance(value, Codes | Pending):
        b.result(b.with_quant(value, stated_quant(b, 1, 2)))
        return
    if not isinstance(value, Constant):
        b.refuse("input", expected="codes", got=f"'{b.current.input[0]}'")
    b.result(quant_constant(b, value.values, 1, 2, b.attributes().get("axis", 1)))


def quant_constant(b: OnnxGraphBuilder, codes: Array, scale_at: int, zero_point_at: int, axis: int) -> QuantConstant:
    """A stored constant less its zero point, with its scale or scales."""
    scale = b.constant(scale_at).astype(np.float32).ravel()
    zero_point = b.constant(zero_point_at).astype(np.int64) if b.has(zero_point_at) else np.zeros(1, np.int64)
    if b.attributes().get("block_size", 0) or codes.dtype.name not in ("int8", "uint8", "int32"):
        b.refuse("limit: type of a constant", expected="int8, uint8 or int32 without blocks", got=codes.dtype.name)
    axis %= max(codes.ndim, 1)
    if scale.size not in (1, codes.shape[axis] if codes.ndim else 1) or zero_point.size not in (1, scale.size):
        b.refuse("number of scales", expected=f"1 or that of axis {axis} of {codes.shape}", got=scale.size)
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        b.refuse("scale", expected="0 or more", got=scale[:4].tolist())
    shape = [1] * codes.ndim
    if zero_point.size > 1:
        shape[axis] = -1
    return QuantConstant(codes.astype(np.int64) - zero_point.reshape(shape), scale, axis if scale.size > 1 else None)


def _same(b: OnnxGraphBuilder) -> None:
    b.result(b.value(0))


ROWS = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Cast": _cast,
    "Identity": _same,
    "Dropout": _same,
}
