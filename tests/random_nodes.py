"""Nodes with random attributes for :mod:`tests.graphs`: convolutions, reductions and products of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Quant

if TYPE_CHECKING:
    from tests.graphs import Builder, Rng

MOST_COLUMNS = 12  # of a product of matrices


def random_pads(rng: Rng, kernel: tuple[int, int]) -> ops.Pads:
    """Any four pads smaller than the kernel."""
    top, bottom = (int(v) for v in rng.integers(0, kernel[0], 2))
    left, right = (int(v) for v in rng.integers(0, kernel[1], 2))
    return top, left, bottom, right


SPREAD_KINDS = ("dilated_conv2d", "grouped_conv2d", "dilated_depthwise", "multiplied_depthwise", "transpose_conv2d")


def spread_convolution(b: Builder, rng: Rng, kind: str, x: str) -> str:
    """A convolution of random attributes: dilated, with groups or several outputs for each channel, or transposed."""
    _, height, width, channels = b.tensors[x].shape
    if kind == "transpose_conv2d":
        return transposed_convolution(b, rng, x)
    dilation = (
        (int(rng.integers(1, 4)), int(rng.integers(1, 4))) if kind.startswith("dilated") or rng.integers(2) else (1, 1)
    )
    most = [min(4, (size - 1) // d + 1) for size, d in zip((height, width), dilation, strict=True)]
    kernel = (int(rng.integers(1, most[0] + 1)), int(rng.integers(1, most[1] + 1)))
    stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    pads, relu = random_pads(rng, ops.spanned(kernel, dilation)), bool(rng.integers(2))
    if "depthwise" in kind:
        multiplier = int(rng.integers(2, 5)) if kind.startswith("multiplied") else 1
        return b.convolution(x, ops.DepthwiseConv2D(stride, pads, relu, dilation), kernel, channels * multiplier)
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    groups = int(rng.choice(divisors[1:] or divisors)) if kind.startswith("grouped") else 1
    out_c = groups * int(rng.integers(1, 6))
    return b.convolution(x, ops.Conv2D(stride, pads, relu, dilation, groups), kernel, out_c)


def transposed_convolution(b: Builder, rng: Rng, x: str) -> str:
    """As TensorFlow's SAME or VALID, or PyTorch's with any padding and output padding."""
    _, height, width, _ = b.tensors[x].shape
    kernel, stride = ((int(rng.integers(1, 5)), int(rng.integers(1, 5))) for _ in range(2))
    size, crop = [], []
    for n, k, s in zip((height, width), kernel, stride, strict=True):
        whole, way = (n - 1) * s + k, int(rng.integers(3))
        before = int(rng.integers(0, min(k, whole)))  # PyTorch crops the same at both ends
        pytorch = whole - 2 * before + int(rng.integers(0, s))
        if way == 2 and pytorch >= 1:
            size, crop = [*size, pytorch], [*crop, before]
        else:  # SAME, VALID
            size, crop = (
                [*size, n * s if way == 0 else max(whole, n * s)],
                [*crop, max(k - s, 0) // 2 if way == 0 else 0],
            )
    op = ops.TransposeConv2D(stride, (size[0], size[1]), (crop[0], crop[1]), bool(rng.integers(2)))
    return b.convolution(x, op, kernel, int(rng.integers(1, 20)))


def random_view(rng: Rng, b: Builder, x: str) -> str:
    """The tensor, or its elements along one to five axes."""
    size, rank = int(np.prod(b.tensors[x].shape)), int(rng.integers(2, ops.HIGHEST_RANK + 2))
    if rank > ops.HIGHEST_RANK:
        return x
    sides = [1] * (rank - 1)
    for factor in prime_factors(size):
        sides[int(rng.integers(len(sides)))] *= factor
    return b.reshape(x, (1, *sides))


def random_lstm(rng: Rng, b: Builder, x: str) -> str:
    """LSTM cells whose gates are open in part, with any bits and clip of the cell; the rows of the tensor are steps."""
    t, units = b.tensors[x], int(rng.integers(1, 8))
    x = b.reshape(x, (1, t.shape[1], t.n_bytes // t.shape[1]))
    t, tag = b.tensors[x], f"{len(b.nodes)}"
    out = Quant.per_tensor(rng.uniform(0.004, 0.01), int(rng.integers(-128, 128)))
    names = []
    for name, source, size in (("weight", t.quant, t.shape[2]), ("recurrent", out, units)):
        shape, spread = (4, units, size), source.scale[0] * 75**2 * size**0.5
        scale = (rng.uniform(0.3, 2, 4) / spread).astype(np.float32)
        weight = rng.integers(-127, 128, shape, dtype=np.int8)
        names.append(b.tensor(f"{name}_{tag}", shape, Quant.per_channel(scale, 0), weight))
    scale = np.float32(t.quant.scale[0]) * np.asarray(b.tensors[names[0]].quant.scale, np.float32)
    bias = np.round(rng.uniform(-1, 1, (4, units)) / scale[:, None]).clip(-(2**24), 2**24).astype(np.int32)
    names.append(b.tensor(f"bias_{tag}", (4, units), Quant.per_channel(scale, 0), bias))
    op = ops.Lstm(int(rng.integers(9, 16)), int(rng.choice([0, rng.integers(1, 2**15)])))
    return b.node(op, (x, *names), (1, t.shape[1], units), out)


def random_extremum(rng: Rng, b: Builder, x: str, kind: Literal["max", "min"]) -> str:
    """The larger or smaller of ``x`` and codes for each element, channel or tensor, or of ``x`` the other way."""
    t = b.tensors[x]
    if rng.random() < 0.3:
        slice_ = ops.Slice((0, *(n - 1 for n in t.shape[1:])), t.shape, (1, *(-1 for _ in t.shape[1:])))
        return b.pair(ops.Extremum(kind), x, b.moved(slice_, x))
    sides = [n if rng.random() < 0.6 else 1 for n in t.shape[1:]]
    return b.pair(ops.Extremum(kind), x, b.constant((1, *sides), t.quant))


def random_broadcast(rng: Rng, b: Builder, x: str) -> str:
    """A sum, difference, its square or a product of ``x`` and a constant or a mean of ``x``, in any order."""
    shape = b.tensors[x].shape
    kind = int(rng.integers(3))
    if kind == 0 and len(shape) == 4:
        means = (lambda: b.mean(x, "channels"), lambda: b.mean(x, keep_dims=False), lambda: b.mean(x))
        partner = means[int(rng.integers(3))]()
    else:
        if kind == 1:  # another rank
            shape = (1, int(np.prod(shape))) if rng.random() < 0.5 else (1, *shape[1:2], 1, *shape[2:])
            x = b.reshape(x, shape)
        sides = [int(rng.integers(1, 4)) if n == 1 else n if rng.random() < 0.6 else 1 for n in shape[1:]]
        partner = b.constant((1, *sides)[int(rng.integers(len(shape))) :])
    squared = rng.random() < 0.2
    relu, kind = bool(rng.integers(2)), int(rng.integers(3))
    op = ops.SquaredDifference() if squared else (ops.Add, ops.Sub, ops.Mul)[kind](relu)
    first, second = (int(np.prod(b.tensors[name].shape)) for name in (x, partner))
    swapped = second > first if isinstance(op, ops.Mul) else rng.random() < 0.4  # files are read in this order
    return b.pair(op, partner, x) if swapped else b.pair(op, x, partner)


def prime_factors(n: int) -> list[int]:
    for factor in range(2, n + 1):
        if n % factor == 0:
            return [factor, *prime_factors(n // factor)]
    return []


def random_reduction(rng: Rng, b: Builder, x: str) -> str:
    """Any kind over any axes, at least one of which is left where dimensions are dropped."""
    axes = [axis for axis in range(1, len(b.tensors[x].shape)) if rng.integers(2)]
    axes = axes or [len(b.tensors[x].shape) - 1]
    return b.reduce(x, str(rng.choice(["mean", "sum", "max", "min"])), tuple(axes), bool(rng.integers(2)))


def random_products(rng: Rng, b: Builder, x: str) -> str:
    """Products of the matrices of a tensor, with themselves or with a constant, transposed or not, repeated or not."""
    sides = [1] * int(rng.integers(2, 5))  # leading axes, and the two of a matrix
    for factor in prime_factors(b.tensors[x].n_bytes):
        sides[int(rng.integers(len(sides)))] *= factor
    *lead, rows, depth = sides
    adj_x, adj_y = (bool(coin) for coin in rng.integers(2, size=2))
    left = b.reshape(x, (1, *lead, *((depth, rows) if adj_x else (rows, depth))))
    if rows <= MOST_COLUMNS and rng.integers(2):
        return b.node(ops.BatchMatMul(adj_x, not adj_x), (left, left), (1, *lead, rows, rows))
    columns, repeated = int(rng.integers(1, MOST_COLUMNS)), [n if rng.integers(2) else 1 for n in lead]
    quant = Quant.per_tensor(0.03, 0) if rng.integers(2) else None  # XNNPACK takes no other zero point
    right = b.constant((1, *repeated, *((columns, depth) if adj_y else (depth, columns))), quant)
    return b.node(ops.BatchMatMul(adj_x, adj_y), (left, right), (1, *lead, rows, columns))
