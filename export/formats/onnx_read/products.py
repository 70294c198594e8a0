"""Readers of matrix products. Refuses transposed activations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Quant

from .builder import Array, OnnxGraphBuilder
from .values import Codes, Pending, QuantConstant
from .weights import add_weights, narrow, quantised_weight, real_bias


def _gemm(b: OnnxGraphBuilder) -> None:
    attributes = b.attributes()
    alpha, beta = (float(attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    if attributes.get("transA", 0) or alpha <= 0:
        b.refuse("limit: transA and alpha", expected="0, and above 0", got=(attributes.get("transA", 0), alpha))
    weight = quantised_weight(b, 1)
    weight = weight if attributes.get("transB", 0) else weight.moved((1, 0))
    weight = replace(weight, scale=weight.scale * np.float32(alpha))
    bias = real_bias(b, 2, len(weight.codes))
    matrix_product(b, b.codes(0), weight, None if bias is None else bias * beta, b.current.input[1])


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


def matrix_product(b: OnnxGraphBuilder, codes: Codes, weight: QuantConstant, bias: Array | None, name: str) -> None:
    """The pending product over the last axis; ``weight`` (outputs, inputs)."""
    rows = b.reshaped(codes, b.shape(codes))
    source, plain = rows.name, rows.order
    tensor, title = b.tensors[source], b.current.name or b.title

    def emit(pending: Pending, relu: bool, quant: Quant) -> str:
        x, narrowed = narrow(b, source, weight)
        names = add_weights(b, (name, b.added("bias")), tensor.quant, narrowed, 0, bias, pending)
        return b.node(title, ops.FullyConnected(relu), (x, *names), quant, output=title)

    shape = (*tensor.shape[:-1], len(weight.codes))
    rank = len(codes.order)
    b.result(replace(b.pending(emit, shape, plain, fuses_relu=True), channels_at=(rank - 1, rank)))


ROWS = {"Gemm": _gemm, "MatMul": _mat_mul}
