"""Graphs for the DSP kernels: every shape they support, and some that only the portable ones do."""

from __future__ import annotations

from tests.firmware_harness.drawing import checked
from tests.graphs import Builder, Rng
from tinyscene.runtime.graph import Graph

SIZES = (1, 2, 3, 5, 8, 9, 17)
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 15, 18)


def drawn_net(rng: Rng, n_nodes: int = 24) -> Graph:
    """Separate layers, each of an earlier activation."""
    height, width = (int(v) for v in rng.choice(SIZES, 2))
    b = Builder(rng, "drawn", (height, width, int(rng.choice(CHANNELS))))
    pool = [b.input]
    kinds = (_any_conv, _pointwise, _depthwise, _sum, _stem, _matrix)
    for step in range(n_nodes):
        x = pool[int(rng.integers(len(pool)))]
        pool.append(kinds[step % len(kinds)](b, rng, x))
    return checked(b, b.mean(pool[-1], keep_dims=False))


def drawn_blocks(rng: Rng, n_blocks: int = 5) -> Graph:
    """Consecutive inverted residuals of all kinds, some with GRN."""
    height, width = (int(v) for v in rng.choice(SIZES, 2))
    b = Builder(rng, "blocks", (height, width, int(rng.choice(CHANNELS[1:]))))
    x = b.input
    for step in range(n_blocks):
        x = block(b, rng, x, kind=("plain", "input", "side")[step % 3])
        if rng.integers(2):
            x = b.grn(x)
    return checked(b, b.mean(x, keep_dims=False))


def block(b: Builder, rng: Rng, x: str, kind: str, wide: int | None = None) -> str:
    """``plain`` adds nothing, ``input`` adds the input, ``side`` a depthwise convolution of it."""
    channels = b.tensors[x].shape[3]
    stride = (1, 1) if kind == "input" else tuple(int(v) for v in rng.integers(1, 3, 2))
    pads = (1, 1, 1, 1) if kind == "input" or rng.integers(2) else (1, 0, 1, 2)
    inner = b.conv(x, (1, 1), channels=wide or int(rng.integers(2, 30)), relu=True)
    inner = b.conv(inner, (3, 3), stride=stride, pads=pads, relu=True)
    out = int(rng.integers(1, 20)) if kind == "plain" else channels
    product = b.conv(inner, (1, 1), channels=out, relu=bool(rng.integers(2)))
    if kind == "plain":
        return product
    other = x if kind == "input" else b.conv(x, (3, 3), stride=stride, pads=pads)
    operands = (product, other) if rng.integers(2) else (other, product)
    return b.add(*operands, relu=bool(rng.integers(2)))


def _any_conv(b: Builder, rng: Rng, x: str) -> str:
    _, height, width, _ = b.tensors[x].shape
    kernel = (min(height, int(rng.integers(1, 4))), min(width, int(rng.integers(1, 6))))
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    pads = tuple(int(v) for v in rng.integers(0, 3, 4))
    return b.conv(x, kernel, channels=int(rng.integers(1, 12)), stride=stride, pads=pads, relu=bool(rng.integers(2)))


def _pointwise(b: Builder, rng: Rng, x: str) -> str:
    return b.conv(x, (1, 1), channels=int(rng.integers(1, 24)), relu=bool(rng.integers(2)))


def _depthwise(b: Builder, rng: Rng, x: str) -> str:
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 3)))
    top, left, bottom, right = (int(v) for v in rng.integers(1, 4, 4))
    return b.conv(x, (3, 3), stride=stride, pads=(top, left, bottom, right), relu=bool(rng.integers(2)))


def _sum(b: Builder, rng: Rng, x: str) -> str:
    other = b.conv(x, (1, 1))
    return b.add(x, other, bool(rng.integers(2))) if rng.integers(2) else b.add(other, x)


def _stem(b: Builder, rng: Rng, x: str) -> str:
    one = b.mean(x, over="channels")
    return b.conv(one, (3, 3), channels=int(rng.integers(2, 9)), stride=(2, 2), pads=(1, 1, 1, 1), relu=True)


def _matrix(b: Builder, rng: Rng, x: str) -> str:
    mean = b.mean(x, keep_dims=False)
    outputs = int(rng.integers(1, 12))
    product = b.fully_connected(mean, outputs, relu=bool(rng.integers(2)), per_channel=bool(rng.integers(2)))
    return b.reshape(product, (1, 1, 1, outputs))
