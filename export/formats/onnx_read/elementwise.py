"""Readers of sums, differences, products and functions of one element.

A real constant per channel becomes an exact factor or offset of a 1x1 depthwise convolution; a constant of codes stays
an operand. Refuses functions of two activations that the op set lacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Quant

from .builder import Array, OnnxGraphBuilder
from .products import with_bias
from .quantised import function_of
from .values import NHWC, Codes, Constant, Pending, QuantConstant
from .windows import affine

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _pair(make: Callable[[bool], ops.Op], kind: str) -> Callable[[OnnxGraphBuilder], None]:
    def read(b: OnnxGraphBuilder) -> None:
        a, c = b.value(0), b.value(1)
        if kind == "add" and (biased := _as_bias(b, a, c) or _as_bias(b, c, a)) is not None:
            b.result(biased)
            return
        for at, other in ((0, c), (1, a)):
            if isinstance(other, Constant) and not (kind == "sub" and at == 1):
                b.result(_with_real(b, b.codes(at), other.values, kind))
                return
        operands(b, make, b.codes(0), b.codes(1))

    return read


def _as_bias(b: OnnxGraphBuilder, value: object, other: object) -> Pending | None:
    """A constant that is added to a product or a convolution before it is quantised."""
    if not isinstance(value, Pending) or not isinstance(other, Constant | QuantConstant):
        return None
    real = other.real if isinstance(other, QuantConstant) else other.values
    channel = len(value.order) - 1 if value.order == tuple(range(len(value.order))) else 1
    behind = real.ndim - (len(value.order) - channel)
    if real.size != 1 and (behind < 0 or real.shape[behind] != real.size):
        return None
    return with_bias(value, real)


def operands(b: OnnxGraphBuilder, make: Callable[[bool], ops.Op], a: Codes, c: Codes) -> None:
    """The pending result of an op with two operands; the one with fewer axes gets leading axes of size 1."""
    rank = max(len(a.order), len(c.order))
    a, c = (_of_rank(b, each, rank) for each in (a, c))
    order = next((each.order for each in (a, c) if each.order == NHWC), a.order)
    names = b.ordered(a, order), b.ordered(c, order)
    title = b.current.name or b.title

    def emit(_: Pending, relu: bool, quant: Quant) -> str:
        return b.node(title, make(relu), names, quant, output=title)

    shapes = [b.tensors[name].shape for name in names]
    try:
        shape = tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError:
        b.refuse("operands", expected="shapes that broadcast", got=shapes)
    b.result(b.pending(emit, shape, order, fuses_relu=True))


def _prelu(b: OnnxGraphBuilder) -> None:
    """A slope for values below 0, with codes of its own."""
    x = b.codes(0)
    slope = _of_rank(b, b.codes(1), len(x.order))
    names, title = (x.name, b.ordered(slope, x.order)), b.current.name or b.title

    def emit(_: Pending, __: bool, quant: Quant) -> str:
        return b.node(title, ops.PRelu(), names, quant, output=title)

    b.result(b.pending(emit, b.tensors[x.name].shape, x.order))


def _of_rank(b: OnnxGraphBuilder, codes: Codes, rank: int) -> Codes:
    shape = b.shape(codes)
    if len(shape) == rank:
        return codes
    tensor = b.tensors[codes.name]
    if tensor.data is not None:
        plain = tensor.data.transpose(codes.order).reshape((1,) * (rank - len(shape)) + shape)
        name = b.stored(b.added("constant"), "int8", tensor.quant, plain)
        return Codes(name, tuple(range(rank)))
    return b.reshaped(codes, (1,) * (rank - len(shape)) + shape)


def _with_real(b: OnnxGraphBuilder, codes: Codes, real: Array, kind: str) -> Pending:
    """An activation and a real constant: one number, or one per channel."""
    rank, shape = len(codes.order), b.shape(codes)
    padded = real.reshape((1,) * (rank - real.ndim) + real.shape)
    if real.size == 1:
        return _scalar(b, codes, float(real.ravel()[0]), kind)
    if rank not in (3, 4) or padded.shape != (1, shape[1], *([1] * (rank - 2))):
        b.refuse("constant operand", expected="one number, one per channel, or quantised", got=real.shape)
    values = real.astype(np.float32).ravel()
    if kind in ("mul", "div"):
        factor = values if kind == "mul" else np.reciprocal(values)
        return affine(b, codes, factor, np.zeros_like(values))
    return affine(b, codes, np.ones_like(values), values if kind == "add" else -values)


def _scalar(b: OnnxGraphBuilder, codes: Codes, number: float, kind: str) -> Pending:
    functions: dict[str, Callable[[Array], Array]] = {
        "add": lambda x: x + np.float32(number),
        "sub": lambda x: x - np.float32(number),
        "mul": lambda x: x * np.float32(number),
        "div": lambda x: x / np.float32(number),
        "pow": lambda x: x ** np.float32(number),
    }
    return function_of(b, codes, functions[kind])


def _by_constant(kind: str) -> Callable[[OnnxGraphBuilder], None]:
    """Div and Pow: the second operand is constant."""

    def read(b: OnnxGraphBuilder) -> None:
        b.result(_with_real(b, b.codes(0), b.constant(1), kind))

    return read


def _unary(function: Callable[..., Any], **defaults: float) -> Callable[[OnnxGraphBuilder], None]:
    """A function of one element and of attributes with these defaults."""

    def read(b: OnnxGraphBuilder) -> None:
        stated = {name: float(b.attributes().get(name, value)) for name, value in defaults.items()}
        b.result(function_of(b, b.codes(0), lambda x: function(x.astype(np.float64), **stated)))

    return read


def _gelu(b: OnnxGraphBuilder) -> None:
    tanh = b.attributes().get("approximate", b"none") == b"tanh"

    def function(x: npt.NDArray[np.float32]) -> Array:
        wide = x.astype(np.float64)
        inner = np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)
        share: Array = 0.5 * (1 + (np.tanh(inner) if tanh else _erf(wide / np.sqrt(2))))
        return wide * share

    b.result(function_of(b, b.codes(0), function))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def leaky_relu(b: OnnxGraphBuilder) -> Callable[[Array], Array]:
    """The function with the slope of the current node."""
    alpha = float(b.attributes().get("alpha", 0.01))
    return lambda x: np.where(x < 0, alpha * x, x)


ROWS = {
    "Add": _pair(ops.Add, "add"),
    "Sub": _pair(ops.Sub, "sub"),
    "Mul": _pair(ops.Mul, "mul"),
    "Div": _by_constant("div"),
    "Pow": _by_constant("pow"),
    "Abs": _unary(np.abs),
    "Cos": _unary(np.cos),
    "Elu": _unary(lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)), alpha=1.0),
    "Erf": _unary(_erf),
    "Exp": _unary(np.exp),
    "Gelu": _gelu,
    "HardSigmoid": _unary(lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), alpha=0.2, beta=0.5),
    "HardSwish": _unary(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "LeakyRelu": _unary(lambda x, alpha: np.where(x < 0, alpha * x, x), alpha=0.01),
    "Log": _unary(np.log),
    "Mish": _unary(lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "Neg": _unary(np.negative),
    "PRelu": _prelu,
    "Reciprocal": _unary(lambda x: 1 / x),
    "Selu": _unary(
        lambda x, alpha, gamma: gamma * np.where(x > 0, x, alpha * np.expm1(x)), alpha=1.67326, gamma=1.0507
    ),
    "Sigmoid": _unary(sigmoid),
    "Sin": _unary(np.sin),
    "Softplus": _unary(lambda x: np.log1p(np.exp(x))),
    "Softsign": _unary(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _unary(np.sqrt),
    "Swish": _unary(lambda x, alpha: x * sigmoid(alpha * x), alpha=1.0),
    "Tanh": _unary(np.tanh),
    "ThresholdedRelu": _unary(lambda x, alpha: np.where(x > alpha, x, 0), alpha=1.0),
}
