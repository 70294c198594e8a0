"""Every byte of the Helium kernels on the emulated Cortex-M55 equals NumPy's: random shapes, extremes, and ties.

A drawn net reads any earlier activation in each of its many nodes, so that one build and run tests many shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware_harness.cpu.mve.nets import drawn, kernels_of, m55
from tests.firmware_harness.drawing import checked
from tests.firmware_harness.equality import assert_equal, both_rules
from tests.firmware_harness.random_graphs import convolution
from tests.graphs import Builder, Rng, random_input
from tests.random_nodes import random_pads
from tinyscene.firmware_harness.build.targets import Target
from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.interpreter import run


def small(rng: Rng, limit: int) -> tuple[int, int]:
    return int(rng.integers(1, limit + 1)), int(rng.integers(1, limit + 1))


def drawn_net(rng: Rng, n_nodes: int = 22) -> Graph:
    """Shapes that the kernels support and some that they do not, from one pixel on, any number of channels."""
    height, width = (int(v) for v in rng.choice([1, 2, 3, 5, 8, 9, 17], 2))
    b = Builder(rng, "drawn", (height, width, int(rng.choice([1, 2, 3, 4, 7, 8, 15, 16, 17, 24]))))
    pool = [b.input]
    for step in range(n_nodes):
        x = pool[int(rng.integers(len(pool)))]
        pool.append(DRAWN[step % len(DRAWN)](b, rng, x))
    return checked(b, b.mean(pool[-1], keep_dims=False))


def drawn_conv(b: Builder, rng: Rng, x: str) -> str:
    _, height, width, _ = b.tensors[x].shape
    kernel = (min(height, int(rng.integers(1, 4))), min(width, int(rng.integers(1, 4))))
    channels = int(rng.integers(1, 24))
    return b.conv(
        x, kernel, channels=channels, stride=small(rng, 3), pads=random_pads(rng, kernel), relu=bool(rng.integers(2))
    )


def drawn_pointwise(b: Builder, rng: Rng, x: str) -> str:
    return b.conv(x, (1, 1), channels=int(rng.integers(1, 40)), relu=bool(rng.integers(2)))


def drawn_depthwise(b: Builder, rng: Rng, x: str) -> str:
    _, height, width, _ = b.tensors[x].shape
    kernel = (min(height, int(rng.integers(1, 4))), min(width, int(rng.integers(1, 4))))
    return b.conv(x, kernel, stride=small(rng, 2), pads=random_pads(rng, kernel), relu=bool(rng.integers(2)))


def drawn_affine(b: Builder, rng: Rng, x: str) -> str:
    return b.conv(x, (1, 1), relu=bool(rng.integers(2)))


def drawn_sum(b: Builder, rng: Rng, x: str) -> str:
    return b.add(*rng.permutation([x, b.conv(x, (1, 1))]).tolist(), relu=bool(rng.integers(2)))


def drawn_product(b: Builder, rng: Rng, x: str) -> str:
    partners = (x, b.mean(x), b.mean(b.mean(x), over="channels"), b.conv(x, (1, 1)))
    return b.mul(x, partners[int(rng.integers(4))])


def drawn_root(b: Builder, rng: Rng, x: str) -> str:
    return b.rsqrt(b.conv(x, (1, 1), channels=b.tensors[x].shape[3], relu=True))


def drawn_grn(b: Builder, rng: Rng, x: str) -> str:
    return b.grn(x)


DRAWN = (
    drawn_conv,
    drawn_pointwise,
    drawn_depthwise,
    drawn_affine,
    drawn_sum,
    drawn_product,
    drawn_depthwise,
    drawn_root,
    drawn_pointwise,
    drawn_conv,
    drawn_grn,
)


@both_rules
@m55
@given(seed=st.integers(0, 2**32 - 1))
@drawn
def test_drawn_nets(seed: int, target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(seed)
    graph = drawn_net(rng)
    assert_equal(target, graph, random_input(rng, graph, 2), rounding, "speed" if seed % 2 else "layers")


CHAINS = [
    # height, width, channels; what follows
    pytest.param((9, 17, 20), (2, 1), id="a width of 4 n + 1"),
    pytest.param((8, 8, 33), (1, 2), id="stride along one axis, odd channels"),
    pytest.param((17, 18, 16), (2, 2), id="both strides"),
    pytest.param((4, 2, 5), (1, 1), id="the smallest map of whole patches"),
    pytest.param((2, 5, 1), (1, 1), id="one channel"),
]


@both_rules
@m55
@pytest.mark.parametrize(("shape", "stride"), CHAINS)
def test_depthwise_of_every_kernel(shape, stride, target: Target, rounding: Rounding) -> None:
    """Kernels 1x2 to 3x3 with every padding on the near side, zero points at both ends."""
    rng = np.random.default_rng(4)
    b = Builder(rng, "depthwise", shape, Quant.per_tensor(0.04, -128 if stride == (1, 1) else 127))
    x = b.input
    for kernel, pads in (
        ((3, 3), (1, 1, 1, 1)),
        ((3, 2), (2, 1, 1, 0)),
        ((2, 3), (0, 2, 1, 1)),
        ((1, 2), (0, 0, 0, 1)),
    ):
        b.conv(b.input, kernel, stride=stride, pads=pads, relu=bool(rng.integers(2)))
        x = b.conv(x, kernel, pads=pads)
    graph = b.graph(b.mean(x, keep_dims=False))
    if min(shape) > 8:
        assert kernels_of(graph) == {"ts_mve_depthwise", "ts_mve_mean"}
    assert_equal(target, graph, random_input(rng, graph, 2), rounding)


def spread(rng: Rng, n: int, bits: float) -> Any:
    size = (2.0 ** rng.uniform(0, bits, n)).astype(np.int64)
    return np.where(rng.random(n) < 0.5, -size, size)


@both_rules
@m55
@pytest.mark.parametrize(
    ("kernel", "channels", "name"), [((1, 1), 500, "conv2d"), ((3, 3), None, "depthwise"), ((1, 1), None, "affine")]
)
def test_sums_over_all_of_int32(kernel, channels, name, target: Target, rounding: Rounding) -> None:
    """Biases up to the limits of int32, factors from nearly one half to 2^-30: every shift, saturation at both ends."""
    rng = np.random.default_rng(8)
    n = channels or 500
    graph = convolution(
        rng, (3, 8, 1 if channels else n), kernel, channels=channels, pads=random_pads(rng, kernel),
        bias=spread(rng, n, 30.99), weight_scale=2.0 ** rng.uniform(-29, 0, n), x_quant=Quant.per_tensor(0.5, 3),
        out_quant=Quant.per_tensor(1.01, -7),
    )  # fmt: skip
    assert kernels_of(graph) == {f"ts_mve_{name}"}
    codes = random_input(rng, graph, 2)
    assert {-128, 127} <= set(np.unique(run(graph, codes, rounding=rounding)).tolist())
    assert_equal(target, graph, codes, rounding)


@both_rules
@m55
@pytest.mark.parametrize("bits", range(2, 9))
def test_every_tie(bits: int, target: Target, rounding: Rounding) -> None:
    """A factor of 2^-bits on all numbers around zero: both roundings of `double` have ties of both signs."""
    bias = np.arange(-600, 600)
    zeros = np.zeros((1200, 1, 1, 1))
    out = Quant.per_tensor(1.0, 5)
    graph = convolution(
        np.random.default_rng(0), (2, 2, 1), (1, 1), channels=1200, weight=zeros, bias=bias, weight_scale=2.0**-bits,
        x_quant=Quant.per_tensor(1.0, 0), out_quant=out,
    )  # fmt: skip
    assert kernels_of(graph) == {"ts_mve_conv2d"}
    expected = run(graph, np.zeros((1, 2, 2, 1), np.int8), rounding=rounding)
    toward_even = np.clip(np.rint(bias / 2.0**bits) + 5, -128, 127)
    assert (expected[0, 0, 0] != toward_even).any() == (rounding == "double")
    assert_equal(target, graph, np.zeros((1, 2, 2, 1), np.int8), rounding)


def pairwise(op: ops.Op, quants: tuple[Quant, Quant, Quant], shape: tuple[int, ...], partner: Any) -> Graph:
    """One op on the input and a constant."""
    tensors = [
        Tensor("x", shape, "int8", quants[0]),
        Tensor("partner", partner.shape, "int8", quants[1], partner),
        Tensor("y", shape, "int8", quants[2]),
    ]
    node = Node("pairs", op, ("x", "partner"), "y")
    return Graph("pairs", {t.name: t for t in tensors}, (node,), ("x",), ("y",)).check()


CODES = np.arange(-128, 128, dtype=np.int8)


@both_rules
@m55
@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.5), (1.0, 0.0012, 0.7), (0.0012, 1.0, 1.0), (0.5, 0.25, 1.0)])
def test_sum_of_every_pair_of_codes(scales: tuple[float, float, float], target: Target, rounding: Rounding) -> None:
    """Equal scales, a thousand to one in both directions, powers of two; outputs with and without saturation."""
    quants = (Quant.per_tensor(scales[0], -3), Quant.per_tensor(scales[1], 90), Quant.per_tensor(scales[2], 11))
    partner = np.ascontiguousarray(np.broadcast_to(CODES[None, None, :, None], (1, 256, 256, 1)))
    graph = pairwise(ops.Add(relu=scales[2] == 1.0), quants, (1, 256, 256, 1), partner)
    assert kernels_of(graph) == {"ts_mve_add"}
    codes = np.ascontiguousarray(np.broadcast_to(CODES[None, :, None, None], (1, 256, 256, 1)))
    assert_equal(target, graph, codes, rounding)


@both_rules
@m55
@pytest.mark.parametrize("out_scale", [0.5, 0.0051, 0.0625])
def test_product_of_every_pair_of_codes(out_scale: float, target: Target, rounding: Rounding) -> None:
    quants = (Quant.per_tensor(0.0625, -3), Quant.per_tensor(0.03125, 90), Quant.per_tensor(out_scale, -20))
    graph = pairwise(ops.Mul(relu=out_scale == 0.5), quants, (1, 256, 1, 256), CODES.reshape(1, 1, 1, 256))
    assert kernels_of(graph) == {"ts_mve_mul"}
    codes = np.ascontiguousarray(np.broadcast_to(CODES[None, :, None, None], (1, 256, 1, 256)))
    assert_equal(target, graph, codes, rounding)


@both_rules
@m55
def test_means_of_extremes(target: Target, rounding: Rounding) -> None:
    """More pixels than a 16-bit sum can represent, all at one end of the range, or balanced about a tie."""
    b = Builder(np.random.default_rng(1), "means", (33, 31, 19), Quant.per_tensor(0.5, 12))
    graph = b.graph(b.mean(b.mul(b.input, b.input)))
    even = np.where(np.arange(33 * 31 * 19).reshape(33, 31, 19) % 2 == 0, -3, 4)
    codes = np.stack([np.full((33, 31, 19), v) for v in (-128, 127)] + [even]).astype(np.int8)
    for optimise in ("layers", "speed"):
        assert_equal(target, graph, codes, rounding, optimise)
    assert kernels_of(graph, "speed") == {"ts_mve_lookup_mean"}
    assert_equal(target, Graph("mean", b.tensors, (mean_of_input(b),), (b.input,), ("mean",)).check(), codes, rounding)


def mean_of_input(b: Builder) -> Node:
    b.tensors["mean"] = Tensor("mean", (1, 1, 1, 19), "int8", Quant.per_tensor(0.25, 3))
    return Node("mean", ops.Reduce("mean", ops.SPACE), (b.input,), "mean")
