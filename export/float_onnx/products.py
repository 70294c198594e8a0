"""Float matrix products: Gemm, and MatMul with a constant or of two activations."""

from __future__ import annotations

import numpy as np

from .builder import ProgramBuilder, Row, Trained


def _gemm(b: ProgramBuilder) -> None:
    """Scaled by ``alpha``, plus a bias scaled by ``beta``."""
    if b.attribute("transA", 0):
        b.refuse("limit: transA")
    weight = b.constant(1) if b.attribute("transB", 0) else b.constant(1).T
    bias = None
    if b.has(2):
        values = np.broadcast_to(b.constant(2) * np.float32(b.attribute("beta", 1.0)), (1, len(weight)))
        bias = Trained(values[0], "bias")
    scaled = Trained(weight * np.float32(b.attribute("alpha", 1.0)), "weight")
    b.result(b.call("linear.default", b.ref(0), scaled, bias))


def _matmul(b: ProgramBuilder) -> None:
    if not b.is_constant(1):
        b.result(b.call("matmul.default", b.ref(0), b.ref(1)))
        return
    weight = b.constant(1)
    if weight.ndim != 2:
        b.refuse("limit: axes of a constant", expected=2, got=weight.ndim)
    b.result(b.call("linear.default", b.ref(0), Trained(weight.T, "weight"), None))


ROWS: dict[str, Row] = {"Gemm": _gemm, "MatMul": _matmul}
