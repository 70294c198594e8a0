"""Readers of sums, differences, products, quotients and extremes of two operands.

A real constant per channel becomes a factor or an offset of the op before it, or of a 1x1 depthwise convolution; a
constant of codes stays an operand. Operands that are functions of the same codes become one function. Refuses
functions of two activations that the op set lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Quant

from .builder import Array, OnnxGraphBuilder
from .functions import single, tabulated
from .values import NHWC, Codes, Constant, Pending, QuantConstant, Value
from .windows import affine

Make = Callable[[bool], ops.Op]
_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "max": np.maximum,
    "min": np.minimum,
}


def _pair(kind: str, make: Make | None = None) -> Callable[[OnnxGraphBuilder], None]:
    """``make``: the op of two activations, where there is one."""

    def read(b: OnnxGraphBuilder) -> None:
        if len(b.current.input) != 2:
            b.refuse("limit: number of operands", expected=2, got=len(b.current.input))
        a, c = b.value(0), b.value(1)
        known = _as_channels(a, c, kind) or (_as_channels(c, a, kind) if kind in ("add", "mul") else None)
        known = known or _as_function(b, a, c, kind)
        if known is not None:
            b.result(known)
        elif isinstance(c, Constant):
            b.result(_with_real(b, b.codes(0), c.values, kind))
        elif isinstance(a, Constant) and kind in ("add", "mul"):
            b.result(_with_real(b, b.codes(1), a.values, kind))
        elif make is None:
            b.refuse("limit: two activations", expected="a constant, or functions of the same codes")
        else:
            operands(b, make, b.codes(0), b.codes(1))

    return read


def _as_channels(value: Value, other: Value, kind: str) -> Pending | None:
    """An op with weights whose result is multiplied by constants per channel, or to which they are added."""
    if not isinstance(value, Pending) or not isinstance(other, Constant | QuantConstant):
        return None
    real = value.per_channel(other.real if isinstance(other, QuantConstant) else other.values)
    if real is None or kind not in ("add", "sub", "mul", "div"):
        return None
    if kind in ("add", "sub"):
        return value.plus(real if kind == "add" else -real)
    return value.times(real if kind == "mul" else np.reciprocal(real))


def _as_function(b: OnnxGraphBuilder, a: Value, c: Value, kind: str) -> Pending | None:
    """Two functions of the same codes, or one and a number."""
    known = [single(b, value) for value in (a, c)]
    sources = {part[0] for part in known if part is not None}
    if len(sources) != 1 or all(isinstance(value, Codes) for value in (a, c)):
        return None
    values = [_number(value) if part is None else part[1] for part, value in zip(known, (a, c), strict=True)]
    if any(each is None for each in values):
        return None
    with np.errstate(all="ignore"):
        return tabulated(b, sources.pop(), np.asarray(_FUNCTIONS[kind](*values)))


def _number(value: Value) -> Array | None:
    return value.values.astype(np.float32).ravel() if isinstance(value, Constant) and value.values.size == 1 else None


def operands(b: OnnxGraphBuilder, make: Make, a: Codes, c: Codes, *, same_scale: bool = False) -> None:
    """The pending result of an op with two operands; the one with fewer axes gets leading axes of size 1.

    ``same_scale``: the operands get the scale of the result, and the op takes no ReLU.
    """
    rank = max(len(a.order), len(c.order))
    a, c = (_of_rank(b, each, rank) for each in (a, c))
    order = next((each.order for each in (a, c) if each.order == NHWC), a.order)
    names = b.ordered(a, order), b.ordered(c, order)
    title = b.current.name or b.title

    def emit(_: Pending, relu: bool, quant: Quant) -> str:
        inputs = tuple(b.quantised(Codes(name, order), quant).name for name in names) if same_scale else names
        return b.node(title, make(relu), inputs, quant, output=title)

    shapes = [b.tensors[name].shape for name in names]
    try:
        shape = tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError:
        b.refuse("operands", expected="shapes that broadcast", got=shapes)
    b.result(b.pending(emit, shape, order, fuses_relu=not same_scale))


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
    """An activation and a real constant for each channel."""
    rank, shape = len(codes.order), b.shape(codes)
    padded = real.reshape((1,) * (rank - real.ndim) + real.shape)
    if rank not in (2, 3, 4) or padded.shape != (1, shape[1], *([1] * (rank - 2))) or kind in ("pow", "max", "min"):
        b.refuse("constant operand", expected="one number, one per channel, or quantised", got=real.shape)
    values = real.astype(np.float32).ravel()
    if kind in ("mul", "div"):
        factor = values if kind == "mul" else np.reciprocal(values)
        return affine(b, codes, factor, np.zeros_like(values))
    return affine(b, codes, np.ones_like(values), values if kind == "add" else -values)


def _extremum(kind: Literal["max", "min"]) -> Callable[[OnnxGraphBuilder], None]:
    """The larger or the smaller of two: their codes are compared with the scale of the result."""
    compare = _pair(kind)

    def read(b: OnnxGraphBuilder) -> None:
        parts = [b.value(at) for at in range(len(b.current.input))]
        if len(parts) != 2 or any(isinstance(part, Constant | Pending) for part in parts):
            compare(b)
            return
        operands(b, lambda _: ops.Extremum(kind), b.codes(0), b.codes(1), same_scale=True)

    return read


ROWS = {
    "Add": _pair("add", ops.Add),
    "Div": _pair("div"),
    "Max": _extremum("max"),
    "Min": _extremum("min"),
    "Mul": _pair("mul", ops.Mul),
    "PRelu": _prelu,
    "Pow": _pair("pow"),
    "Sub": _pair("sub", ops.Sub),
    "Sum": _pair("add", ops.Add),
}
