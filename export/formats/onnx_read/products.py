"""Readers of matrix products. Refuses factors other than 1 and transposed activations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Quant

from .builder import Array, OnnxGraphBuilder
from .values import Codes, Pending, QuantConstant
from .windows import add_weights, quantised_weight, real_bias


def _gemm(b: OnnxGraphBuilder) -> None:
    attributes = b.attributes()
    for name, plain in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if attributes.get(name, plain) != plain:
            b.refuse(name, expected=plain, got=attributes[name])
    weight = quantised_weight(b, 1)
    weight = weight if attributes.get("transB", 0) else weight.moved((1, 0))
    matrix_product(b, b.codes(0), weight, real_bias(b, 2, len(weight.codes)), b.current.input[1])


def _mat_mul(b: OnnxGraphBuilder) -> None:
    weight = b.value(1)
    if not isinstance(weight, QuantConstant):
        product_of_activations(b, b.codes(0), b.codes(1))
        return
    if weight.codes.ndim != 2:
        b.refuse("weight", expected="two axes", got=weight.codes.shape)
    matrix_product(b, b.codes(0), weight.moved((1, 0)), None, b.current.input[1])


def product_of_activations(b: OnnxGraphBuilder, x: Codes, y: Codes) -> None:
    if len(x.order) != len(y.order):
        b.refuse("limit: factors of unequal rank", got=(b.shape(x), b.shape(y)))
    plain = tuple(range(len(x.order)))
    names = b.ordered(x, plain), b.ordered(y, plain)
    title = b.current.name or b.title

    def emit(_: Pending, __: bool, quant: Quant) -> str:
        return b.node(title, ops.BatchMatMul(), names, quant, output=title)

    shape = ops.OPS[ops.BatchMatMul].shape(ops.BatchMatMul(), *(b.tensors[name].shape for name in names))
    b.result(b.pending(emit, shape, plain))


def matrix_product(b: OnnxGraphBuilder, x: Codes, weight: QuantConstant, bias: Array | None, name: str) -> None:
    """The pending product over the last axis; ``weight`` (outputs, inputs)."""
    rows = b.reshaped(x, b.shape(x))
    source, plain = rows.name, rows.order
    tensor, title = b.tensors[source], b.current.name or b.title

    def emit(pending: Pending, relu: bool, quant: Quant) -> str:
        total = bias if pending.bias is None else pending.bias + (0 if bias is None else bias)
        names = add_weights(b, (name, b.added("bias")), tensor.quant, weight, 0, total)
        return b.node(title, ops.FullyConnected(relu), (source, *names), quant, output=title)

    shape = (*tensor.shape[:-1], len(weight.codes))
    b.result(b.pending(emit, shape, plain, fuses_relu=True))


def with_bias(pending: Pending, real: Array) -> Pending | None:
    """A product or a convolution with a constant per channel added to it; None if it takes none."""
    channels = pending.shape[-1]
    flat = np.asarray(real, np.float32).ravel()
    if pending.relu or pending.then or not pending.fuses_relu or flat.size not in (1, channels):
        return None
    before = np.zeros(channels, np.float32) if pending.bias is None else pending.bias
    return replace(pending, bias=before + np.broadcast_to(flat, channels))


ROWS = {"Gemm": _gemm, "MatMul": _mat_mul}
