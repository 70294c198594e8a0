"""Float operators that combine elements along axes. Refuses a softmax over several axes, as of opsets before 13."""

from __future__ import annotations

from .builder import ProgramBuilder, Row, Trained

_OPERATORS = {
    "ReduceMean": "mean.dim",
    "ReduceSum": "sum.dim_IntList",
    "ReduceMax": "amax.default",
    "ReduceMin": "amin.default",
}


def _reduce(b: ProgramBuilder) -> None:
    x, axes = b.ref(0), b.integers(1, "axes")
    if not axes and b.attribute("noop_with_empty_axes", 0):
        b.result(x)
        return
    over = sorted(axis % len(x.shape) for axis in axes or range(len(x.shape)))
    b.result(b.call(_OPERATORS[b.kind], x, over, bool(b.attribute("keepdims", 1))))


def _euclidean(b: ProgramBuilder) -> None:
    """The root of the sum of squares."""
    x, axes = b.ref(0), b.integers(1, "axes")
    over = sorted(axis % len(x.shape) for axis in axes or range(len(x.shape)))
    squares = b.call("mul.Tensor", x, x)
    b.result(b.call("sqrt.default", b.call("sum.dim_IntList", squares, over, bool(b.attribute("keepdims", 1)))))


def _layer_norm(b: ProgramBuilder) -> None:
    x, axis = b.ref(0), int(b.attribute("axis", -1)) % len(b.ref(0).shape)
    bias = Trained(b.constant(2), "bias") if b.has(2) else None
    shape, epsilon = list(x.shape[axis:]), float(b.attribute("epsilon", 1e-5))
    b.result(b.call("layer_norm.default", x, shape, Trained(b.constant(1), "weight"), bias, epsilon))


def _softmax(b: ProgramBuilder) -> None:
    x, old = b.ref(0), b.opset < 13
    axis = int(b.attribute("axis", 1 if old else -1)) % len(x.shape)
    if old and any(size > 1 for size in x.shape[axis + 1 :]):
        b.refuse("limit: softmax over several axes", got=f"opset {b.opset}, axis {axis} of {list(x.shape)}")
    b.result(b.call("softmax.int" if b.kind == "Softmax" else "log_softmax.int", x, axis))


ROWS: dict[str, Row] = {
    **dict.fromkeys(_OPERATORS, _reduce),
    "ReduceL2": _euclidean,
    "LayerNormalization": _layer_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
}
