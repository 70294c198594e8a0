"""Readers of operators of codes (QOperator), which have scales and zero points among their inputs.

Each reader puts its operands in the place that the float operator's reader expects, and gives the result its codes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyscene.runtime import ops

from .builder import Array, OnnxGraphBuilder
from .elementwise import operands
from .functions import function_of, leaky_relu, sigmoid
from .products import matrix_product, product_of_activations
from .quantised import quant_constant, stated_quant
from .reductions import reduce, softmax
from .values import Codes, Constant, QuantConstant
from .windows import average_pool, convolution


def operand(b: OnnxGraphBuilder, position: int, scale_at: int, zero_point_at: int) -> Codes:
    """An activation with its stated scale, or a constant of codes."""
    value = b.value(position)
    if isinstance(value, Constant):
        constant = quant_constant(b, value.values, scale_at, zero_point_at, 0)
        return b.constant_codes(b.current.input[position], constant)
    return b.with_quant(value, stated_quant(b, scale_at, zero_point_at))


def _weight(b: OnnxGraphBuilder, position: int, axis: int) -> QuantConstant:
    return quant_constant(b, b.constant(position), position + 1, position + 2, axis)


def _finish(b: OnnxGraphBuilder, scale_at: int, zero_point_at: int) -> None:
    """Quantise the pending result of the float operator."""
    b.result(b.quantised(b.values[b.current.output[0]], stated_quant(b, scale_at, zero_point_at)))


def _bias(b: OnnxGraphBuilder, position: int, x: Codes, weight: QuantConstant) -> Array | None:
    """Real values of a bias of int32 codes, whose scale is that of input times weight; None without one."""
    if not b.has(position):
        return None
    codes = b.constant(position)
    if codes.dtype != np.int32:
        b.refuse("bias", expected="int32", got=codes.dtype.name)
    product = np.float32(b.quant(x).scale[0]) * weight.scale
    real: Array = codes.ravel().astype(np.float64) * product.astype(np.float64)
    return real


def _conv(b: OnnxGraphBuilder) -> None:
    x, weight = operand(b, 0, 1, 2), _weight(b, 3, 0)
    convolution(b, x, weight, _bias(b, 8, x, weight), (3, 8))
    _finish(b, 6, 7)


def _mat_mul(b: OnnxGraphBuilder) -> None:
    if not isinstance(b.value(3), Constant):
        product_of_activations(b, operand(b, 0, 1, 2), operand(b, 3, 4, 5))
        _finish(b, 6, 7)
        return
    weight = _weight(b, 3, 1)
    if weight.codes.ndim != 2:
        b.refuse("weight", expected="two axes", got=weight.codes.shape)
    matrix_product(b, operand(b, 0, 1, 2), weight.moved((1, 0)), None, b.current.input[3])
    _finish(b, 6, 7)


def _gemm(b: OnnxGraphBuilder) -> None:
    attributes = b.attributes()
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("transA", 0):
        b.refuse("alpha and transA", expected="1 and 0", got=(attributes.get("alpha"), attributes.get("transA")))
    transposed = bool(attributes.get("transB", 0))
    weight = _weight(b, 3, 0 if transposed else 1)
    weight = weight if transposed else weight.moved((1, 0))
    x = operand(b, 0, 1, 2)
    bias = _bias(b, 6, x, weight)
    matrix_product(b, x, weight, bias, b.current.input[3])
    _finish(b, 7, 8)


def _pair(make: Callable[[bool], ops.Op]) -> Callable[[OnnxGraphBuilder], None]:
    def read(b: OnnxGraphBuilder) -> None:
        operands(b, make, operand(b, 0, 1, 2), operand(b, 3, 4, 5))
        _finish(b, 6, 7)

    return read


def _unary(function: Callable[[OnnxGraphBuilder], Callable[[Array], Array]]) -> Callable[[OnnxGraphBuilder], None]:
    def read(b: OnnxGraphBuilder) -> None:
        b.result(function_of(b, operand(b, 0, 1, 2), function(b)))
        _finish(b, 3, 4)

    return read


def _global_average(b: OnnxGraphBuilder) -> None:
    if b.attributes().get("channels_last", 0):
        b.refuse("limit: channels_last", expected=0, got=1)
    codes = operand(b, 0, 1, 2)
    reduce(b, codes, "mean", set(range(2, len(codes.order))), keep_dims=True)
    _finish(b, 3, 4)


def _average(b: OnnxGraphBuilder) -> None:
    if b.attributes().get("channels_last", 0):
        b.refuse("limit: channels_last", expected=0, got=1)
    average_pool(b, operand(b, 0, 1, 2))
    _finish(b, 3, 4)


def _mean(b: OnnxGraphBuilder) -> None:
    codes, attributes = operand(b, 0, 1, 2), b.attributes()
    rank = len(codes.order)
    axes = {int(axis) % rank for axis in attributes.get("axes", range(rank))}
    reduce(b, codes, "mean", axes, keep_dims=bool(attributes.get("keepdims", 1)))
    _finish(b, 3, 4)


def _softmax(b: OnnxGraphBuilder) -> None:
    softmax(b, operand(b, 0, 1, 2), int(b.attributes().get("axis", -1)))
    _finish(b, 3, 4)


def _concat(b: OnnxGraphBuilder) -> None:
    """Inputs: scale and zero point of the result, then tensor, scale and zero point of each part."""
    parts = [operand(b, at, at + 1, at + 2) for at in range(2, len(b.current.input), 3)]
    quant, order = stated_quant(b, 0, 1), parts[0].order
    axis = int(b.attributes()["axis"]) % len(order)
    names = tuple(b.quantised(Codes(b.ordered(part, order), order), quant).name for part in parts)
    title = b.current.name or b.title
    b.result(Codes(b.node(title, ops.Concat(order[axis]), names, quant, output=title), order))


ROWS = {
    "QGemm": _gemm,
    "QLinearAdd": _pair(ops.Add),
    "QLinearAveragePool": _average,
    "QLinearConcat": _concat,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _global_average,
    "QLinearLeakyRelu": _unary(leaky_relu),
    "QLinearMatMul": _mat_mul,
    "QLinearMul": _pair(ops.Mul),
    "QLinearReduceMean": _mean,
    "QLinearSigmoid": _unary(lambda _: sigmoid),
    "QLinearSoftmax": _softmax,
}
