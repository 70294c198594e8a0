"""Operators of PyTorch that reduce windows to their mean or largest element.

Refuses dilated windows, and those of an adaptive maximum that differ in size.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Pads

from ..float_steps import ConvStep, OpStep, PoolStep
from . import elementwise
from .call import Call
from .products import product_of_rows
from .reader import Reader, Row
from .values import View, image_of, without_pads
from .windows import as_pads, axes_of, window_pads

Pair = tuple[int, int]


def _average_pool(reader: Reader, call: Call) -> View:
    """An average pool of the graph excludes padding; others are sums of windows, times one factor for each place."""
    kernel, stride, pads, x = _window(reader, call)
    more = _more_by_ceiling(call, kernel, stride, pads, x)
    x, around = without_pads(x)
    total = as_pads(tuple(a + b + c for a, b, c in zip(around, pads, more, strict=True)))
    divisors = _divisors(call, (x.shape[2:], around, pads, total), kernel, stride)
    inside = _inside(x.shape[2:], total, kernel, stride)
    if torch.equal(divisors, inside) and total in ((0, 0, 0, 0), ops.same_pads(x.shape[2:], kernel, stride)):
        return _add_pool(reader, call, x, ops.Pool2D("average", kernel, stride, total))
    common = int(divisors.flatten().mode().values)
    step = PoolStep(reader.unique(call.name), (reader.stored(x),), kernel, stride, total, x.shape[1], common)
    if bool((divisors == common).all()):
        return reader.add(call.node, step, call.shape)
    shape = (len(x.positions), x.shape[1], *divisors.shape)
    y = elementwise.add_pair(reader, call, ops.Mul(), reader.add(call.node, step, shape), common / divisors, shape)
    return View(y.name, y.positions.reshape(call.shape))


def _inside(size: tuple[int, ...], pads: Pads, kernel: Pair, stride: Pair) -> Tensor:
    """Elements of an image in each window, float32 (rows, columns)."""
    top, left, bottom, right = pads
    ones = F.pad(torch.ones(1, 1, *size), (left, right, top, bottom))
    return F.conv2d(ones, torch.ones(1, 1, *kernel), stride=stride)[0, 0]


def _divisors(call: Call, place: tuple[tuple[int, ...], Pads, Pads, Pads], kernel: Pair, stride: Pair) -> Tensor:
    """What PyTorch divides the sum of each window by, float32 (rows, columns), found from its averages of ones.

    ``place``: size of the image, the zeros around it that are elements of the pool's input, the pool's own padding, and
    all of them together with what the last windows need.
    """
    size, around, pads, total = place
    filled = (size[0] + around[0] + around[2], size[1] + around[1] + around[3])
    averages = F.avg_pool2d(
        torch.ones(1, 1, *filled),
        kernel,
        stride,
        (pads[0], pads[1]),
        bool(call.arguments.get("ceil_mode")),
        bool(call["count_include_pad"]),
        call.arguments.get("divisor_override"),
    )[0, 0]
    outside = as_pads(tuple(a - b for a, b in zip(total, around, strict=True)))
    return (_inside(filled, outside, kernel, stride) / averages).round()


def _max_pool(reader: Reader, call: Call) -> View:
    kernel, stride, pads, x = _window(reader, call)
    if call.pair("dilation") != (1, 1):
        reader.refuse(call, "max pool with dilation")
    more = _more_by_ceiling(call, kernel, stride, pads, x)
    total = as_pads(tuple(a + b for a, b in zip(pads, more, strict=True)))
    return _add_pool(reader, call, x, ops.Pool2D("max", kernel, stride, total))


def _add_pool(reader: Reader, call: Call, x: View, op: ops.Pool2D) -> View:
    return reader.add(call.node, OpStep(reader.unique(call.name), (reader.stored(x),), op), call.shape)


def _window(reader: Reader, call: Call) -> tuple[Pair, Pair, Pads, View]:
    """Kernel, stride, pads and the image of a pool over an image or a sequence."""
    x, sequence = call.view(), len(call.view().shape) == 3
    kernel = axes_of(call, "kernel_size", sequence)
    stride = kernel if not call["stride"] else axes_of(call, "stride", sequence)
    return kernel, stride, window_pads(call, kernel, (1, 1), sequence), image_of(x)


def _more_by_ceiling(call: Call, kernel: Pair, stride: Pair, pads: Pads, x: View) -> Pads:
    """What the last windows reach beyond the padding with ``ceil_mode``."""
    out = call.shape[2:] if len(call.shape) == 4 else (1, call.shape[2])
    sizes = zip(out, stride, kernel, x.shape[2:], pads[:2], pads[2:], strict=True)
    bottom, right = (max((m - 1) * s + k - n - before - after, 0) for m, s, k, n, before, after in sizes)
    return 0, 0, bottom, right


def _adaptive(reader: Reader, call: Call) -> tuple[View, Pair, list[list[Pair]]]:
    """The image, the output's size, and first and last place of each window along both axes."""
    x, sequence = image_of(call.view()), len(call.view().shape) == 3
    stated = call["output_size"] if isinstance(call["output_size"], list) else [call["output_size"]]
    height, width = (1, stated[-1]) if sequence else (stated[0], stated[-1])
    out = (x.shape[2] if height is None else int(height), x.shape[3] if width is None else int(width))
    windows = [[(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(x.shape[2:], out, strict=True)]
    return x, out, windows


def _even(windows: list[Pair]) -> Pair | None:
    """Size and distance of windows, if they have one."""
    sizes = {last - first for first, last in windows}
    steps = {b[0] - a[0] for a, b in pairwise(windows)} or {1}
    return (sizes.pop(), steps.pop()) if len(sizes) == len(steps) == 1 else None


def _adaptive_average(reader: Reader, call: Call) -> View:
    """Windows of one size and distance are a pool; along an axis with others the means are a matrix product."""
    x, out, windows = _adaptive(reader, call)
    if out == (1, 1):
        step = OpStep(call.name, (reader.stored(x),), ops.Reduce("mean", ops.SPACE))
        return reader.add(call.node, step, call.shape)
    even = [_even(each) for each in windows]
    for axis in (2, 3):
        if even[axis - 2] is None:
            x = _means(reader, call, x, axis, windows[axis - 2])
    (height, down), (width, across) = (each or (1, 1) for each in even)
    if (height, width) == (1, 1) and (down, across) == (1, 1):
        return View(x.name, x.positions.reshape(call.shape))
    return _add_pool(reader, call, x, ops.Pool2D("average", (height, width), (down, across)))


def _means(reader: Reader, call: Call, x: View, axis: int, windows: list[Pair]) -> View:
    """The means of windows along one axis; equal weights of a row are exact, the largest code each."""
    weight = torch.zeros(len(windows), x.shape[axis])
    for row, (first, last) in enumerate(windows):
        weight[row, first:last] = 1 / (last - first)
    moved = View(x.name, x.positions.movedim(axis, -1))
    shape = (*moved.shape[:-1], len(windows))
    result = product_of_rows(reader, call, moved, weight, None, shape)
    step = reader.steps[result.name]
    assert isinstance(step, ConvStep)
    step.conv.weight.requires_grad_(False)
    return View(result.name, result.positions.movedim(-1, axis))


def _adaptive_max(reader: Reader, call: Call) -> list[View | None]:
    """The places of the largest elements, the second result, cannot be read."""
    x, out, windows = _adaptive(reader, call)
    down, across = (_even(each) for each in windows)
    if down is None or across is None:
        reader.refuse(call, f"adaptive maximum of {tuple(x.shape[2:])} to {out}: windows differ in size or distance")
    op: ops.Op = ops.Pool2D("max", (down[0], across[0]), (down[1], across[1]))
    op = ops.Reduce("max", ops.SPACE) if out == (1, 1) else op
    y = reader.add(call.node, OpStep(call.name, (reader.stored(x),), op), (*x.shape[:2], *out))
    return [View(y.name, y.positions.reshape(*call.view().shape[:2], *out[2 - (len(call.view().shape) - 2) :])), None]


ROWS: dict[str, Row] = {
    "avg_pool1d": _average_pool,
    "avg_pool2d": _average_pool,
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "adaptive_avg_pool1d": _adaptive_average,
    "adaptive_avg_pool2d": _adaptive_average,
    "adaptive_max_pool1d": _adaptive_max,
    "adaptive_max_pool2d": _adaptive_max,
}
