"""Float convolutions with their BatchNorm, and pools.

Refuses ``auto_pad`` and padding that the operators of PyTorch cannot express: a pool with unequal pads that leaves them
out of its mean, or takes a maximum.
"""

from __future__ import annotations

from tinyscene.runtime import ops

from .builder import ProgramBuilder, Ref, Row, Trained

_SAME = (b"SAME_UPPER", b"SAME_LOWER")


def _axes(b: ProgramBuilder, name: str, rank: int) -> list[int]:
    """An attribute with one number for each axis of an image or a sequence; 1 by default."""
    return [int(v) for v in b.attribute(name, [1] * (rank - 2))]


def _pads(b: ProgramBuilder, x: Ref, kernel: list[int]) -> tuple[list[int], list[int]]:
    """Zeros before and behind each axis."""
    rank = len(x.shape)
    auto, n = b.attribute("auto_pad", b"NOTSET"), rank - 2
    if auto in _SAME:
        stride, dilation = _axes(b, "strides", rank), _axes(b, "dilations", rank)
        before, behind = [], []
        for axis in range(n):
            (reach, _) = ops.spanned((kernel[axis], 1), (dilation[axis], 1))
            top, _, bottom, _ = ops.same_pads((x.shape[2 + axis], 1), (reach, 1), (stride[axis], 1))
            before.append(top if auto == b"SAME_UPPER" else bottom)
            behind.append(bottom if auto == b"SAME_UPPER" else top)
        return before, behind
    stated = [0] * (2 * n) if auto == b"VALID" else [int(v) for v in b.attribute("pads", [0] * (2 * n))]
    return stated[:n], stated[n:]


def padded(b: ProgramBuilder, x: Ref, before: list[int], behind: list[int]) -> Ref:
    """Zeros around the last axes."""
    pairs = [size for pair in zip(reversed(before), reversed(behind), strict=True) for size in pair]
    return b.call("pad.default", x, pairs) if any(pairs) else x


def _convolution(b: ProgramBuilder) -> None:
    x, weight = b.ref(0), b.constant(1)
    rank = len(x.shape)
    if rank not in (3, 4) or weight.ndim != rank:
        b.refuse("limit: axes of a convolution", expected="1 or 2 beside batch and channels", got=rank - 2)
    before, behind = _pads(b, x, list(weight.shape[2:]))
    if before != behind:
        x, before = padded(b, x, before, behind), [0] * (rank - 2)
    bias = Trained(b.constant(2), "bias") if b.has(2) else None
    operator = "conv1d.default" if rank == 3 else "conv2d.default"
    stride, dilation = _axes(b, "strides", rank), _axes(b, "dilations", rank)
    b.result(
        b.call(operator, x, Trained(weight, "weight"), bias, stride, before, dilation, int(b.attribute("group", 1)))
    )


def _transposed(b: ProgramBuilder) -> None:
    x, weight = b.ref(0), b.constant(1)
    rank = len(x.shape)
    before, behind = _pads(b, x, list(weight.shape[2:]))
    if b.attribute("auto_pad", b"NOTSET") in _SAME or b.attribute("output_shape") or before != behind or rank != 4:
        b.refuse("limit: padding of a transposed convolution", expected="two axes with equal 'pads' on both sides")
    bias = Trained(b.constant(2), "bias") if b.has(2) else None
    more = [int(v) for v in b.attribute("output_padding", [0] * (rank - 2))]
    stride, dilation = _axes(b, "strides", rank), _axes(b, "dilations", rank)
    arguments = (stride, before, more, int(b.attribute("group", 1)), dilation)
    b.result(b.call("conv_transpose2d.input", x, Trained(weight, "weight"), bias, *arguments))


def _batch_norm(b: ProgramBuilder) -> None:
    if b.attribute("training_mode", 0):
        b.refuse("limit: BatchNormalization in training mode")
    weight, bias = Trained(b.constant(1), "weight"), Trained(b.constant(2), "bias")
    epsilon = float(b.attribute("epsilon", 1e-5))
    statistics = (b.constant(3), b.constant(4))
    b.result(b.call("batch_norm.default", b.ref(0), weight, bias, *statistics, False, 0.1, epsilon, False))


def _pool(b: ProgramBuilder) -> None:
    x, rank = b.ref(0), len(b.ref(0).shape)
    kernel, stride = _axes(b, "kernel_shape", rank), _axes(b, "strides", rank)
    before, behind = _pads(b, x, kernel)
    average, ceil = b.kind == "AveragePool", bool(b.attribute("ceil_mode", 0))
    counted = bool(b.attribute("count_include_pad", 0))
    if before != behind:
        if not average or not counted:
            b.refuse("limit: pool with unequal pads that are not counted", got=[*before, *behind])
        x, before = padded(b, x, before, behind), [0] * (rank - 2)
    name = f"{'avg' if average else 'max'}_pool{rank - 2}d.default"
    if average:
        b.result(b.call(name, x, kernel, stride, before, ceil, counted))
    else:
        b.result(b.call(name, x, kernel, stride, before, _axes(b, "dilations", rank), ceil))


def _global(b: ProgramBuilder) -> None:
    x = b.ref(0)
    axes = list(range(2, len(x.shape)))
    b.result(b.call("mean.dim" if b.kind == "GlobalAveragePool" else "amax.default", x, axes, True))


ROWS: dict[str, Row] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "BatchNormalization": _batch_norm,
    "AveragePool": _pool,
    "MaxPool": _pool,
    "GlobalAveragePool": _global,
    "GlobalMaxPool": _global,
}
