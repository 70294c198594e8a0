"""Readers of functions of one element, and of their compositions: each is a table of 256 codes.

A function whose result is not quantised is composed with what reads it, such as x * sigmoid(x) between two quantisers.
Limits of other results, such as those of a convolution, are limits of its codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arith import quantise
from tinyscene.runtime.graph import Quant

from .builder import Array, OnnxGraphBuilder
from .values import Codes, Function, Pending, Value

_erf = np.vectorize(math.erf, otypes=[np.float64])


def single(b: OnnxGraphBuilder, value: Value) -> tuple[Codes, Array] | None:
    """The codes that a value depends on, element by element, and its value for each of the 256; None of others."""
    if isinstance(value, Codes):
        return value, b.reals(value)
    return value.of if isinstance(value, Pending) else None


def tabulated(b: OnnxGraphBuilder, codes: Codes, values: Array) -> Pending:
    """A value for each code, which is a table once it is quantised."""

    def emit(_: Pending, __: bool, quant: Quant) -> str:
        return b.tabulated(codes, values, quant).name

    return replace(b.pending(emit, b.tensors[codes.name].shape, codes.order), of=(codes, values))


def function_of(b: OnnxGraphBuilder, codes: Codes, function: Function) -> Pending:
    """A function of single elements of codes."""
    with np.errstate(all="ignore"):
        return tabulated(b, codes, function(b.reals(codes)))


def composed(b: OnnxGraphBuilder, function: Function) -> Pending:
    """A function of the current node's first input, which may be a function itself."""
    known = single(b, b.value(0))
    if known is None:
        return function_of(b, b.codes(0), function)
    with np.errstate(all="ignore"):
        return tabulated(b, known[0], function(known[1]))


def _relu(b: OnnxGraphBuilder) -> None:
    b.result(_limited(b, 0.0, np.inf))


def _clip(b: OnnxGraphBuilder) -> None:
    attributes, limits = b.attributes(), [-np.inf, np.inf]
    for at, name in ((1, "min"), (2, "max")):
        if b.has(at):
            limits[at - 1] = float(b.constant(at).ravel()[0])
        elif name in attributes:
            limits[at - 1] = float(attributes[name])
    low, high = limits
    dtype = b.dtypes.get(b.current.input[0])
    if dtype is None:
        b.result(_limited(b, low, high))
        return
    offset = 128 if dtype == "uint8" else 0
    b.dtypes[b.title] = dtype
    b.result(_clamped(b, b.codes(0), low - offset, high - offset))


def _limited(b: OnnxGraphBuilder, low: float, high: float) -> Value:
    """Limits of real numbers. A ReLU, also one to 6, is a part of the op before it, where it has one."""
    value = b.value(0)
    if not isinstance(value, Pending) or value.of is not None:
        return composed(b, lambda real: np.clip(real, low, high))
    if low == 0.0 and high in (6.0, np.inf) and not value.clamped:
        return replace(value, relu=True, ceiling=value.ceiling or high == 6.0)

    def clamped(codes: Codes) -> Codes:
        ends = quantise(np.array([low, high], np.float32), b.quant(codes))
        return _clamped(b, codes, float(ends[0]), float(ends[1]))

    return replace(value, then=(*value.then, clamped), clamped=True)


def _clamped(b: OnnxGraphBuilder, codes: Codes, low: float, high: float) -> Codes:
    """Limits of codes, which are a table where any code is beyond them."""
    entries = np.clip(np.arange(-128, 128), low, high)
    return codes if low <= -128 and high >= 127 else b.table(codes, entries, b.quant(codes))


def _unary(function: Callable[..., Any], **defaults: float) -> Callable[[OnnxGraphBuilder], None]:
    """A function of one element and of attributes with these defaults."""

    def read(b: OnnxGraphBuilder) -> None:
        stated = {name: float(b.attributes().get(name, value)) for name, value in defaults.items()}
        b.result(composed(b, lambda x: function(x.astype(np.float64), **stated)))

    return read


def _gelu(b: OnnxGraphBuilder) -> None:
    tanh = b.attributes().get("approximate", b"none") == b"tanh"

    def function(x: npt.NDArray[np.float32]) -> Array:
        wide = x.astype(np.float64)
        inner = np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)
        share: Array = 0.5 * (1 + (np.tanh(inner) if tanh else _erf(wide / np.sqrt(2))))
        return wide * share

    b.result(composed(b, function))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def leaky_relu(b: OnnxGraphBuilder) -> Function:
    """The function with the slope of the current node."""
    alpha = float(b.attributes().get("alpha", 0.01))
    return lambda x: np.where(x < 0, alpha * x, x)


def _shrink(x: Array, bias: float, lambd: float) -> Array:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


ROWS = {
    "Abs": _unary(np.abs),
    "Atan": _unary(np.arctan),
    "Ceil": _unary(np.ceil),
    "Celu": _unary(lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x / alpha)), alpha=1.0),
    "Clip": _clip,
    "Cos": _unary(np.cos),
    "Elu": _unary(lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)), alpha=1.0),
    "Erf": _unary(_erf),
    "Exp": _unary(np.exp),
    "Floor": _unary(np.floor),
    "Gelu": _gelu,
    "HardSigmoid": _unary(lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), alpha=0.2, beta=0.5),
    "HardSwish": _unary(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "LeakyRelu": _unary(lambda x, alpha: np.where(x < 0, alpha * x, x), alpha=0.01),
    "Log": _unary(np.log),
    "Mish": _unary(lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "Neg": _unary(np.negative),
    "QuickGelu": _unary(lambda x, alpha: x * sigmoid(alpha * x), alpha=1.702),
    "Reciprocal": _unary(lambda x: 1 / x),
    "Relu": _relu,
    "Round": _unary(np.rint),
    "Selu": _unary(
        lambda x, alpha, gamma: gamma * np.where(x > 0, x, alpha * np.expm1(x)), alpha=1.67326, gamma=1.0507
    ),
    "Shrink": _unary(_shrink, bias=0.0, lambd=0.5),
    "Sigmoid": _unary(sigmoid),
    "Sign": _unary(np.sign),
    "Sin": _unary(np.sin),
    "Softplus": _unary(lambda x: np.log1p(np.exp(x))),
    "Softsign": _unary(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _unary(np.sqrt),
    "Swish": _unary(lambda x, alpha: x * sigmoid(alpha * x), alpha=1.0),
    "Tanh": _unary(np.tanh),
    "ThresholdedRelu": _unary(lambda x, alpha: np.where(x > alpha, x, 0), alpha=1.0),
}
