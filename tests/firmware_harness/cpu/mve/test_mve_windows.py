"""Windows of any size on the emulated Cortex-M55: long ones, dilation, groups, planes, pools, and matrix products."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.firmware_harness.cpu.mve.nets import kernels_of, m55
from tests.firmware_harness.drawing import checked
from tests.firmware_harness.equality import assert_equal, both_rules
from tests.firmware_harness.random_graphs import convolution
from tests.graphs import Builder, Rng, random_input
from tests.random_nodes import random_pads, spread_convolution
from tinyscene.firmware_harness.build.targets import Target
from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.graph import Graph, Quant

SPREAD = ("dilated_conv2d", "grouped_conv2d", "dilated_depthwise", "multiplied_depthwise")


def drawn_windows(rng: Rng) -> Graph:
    """One node of each kind, several times, each reading a random earlier tensor."""
    height, width = (int(v) for v in rng.choice([1, 2, 3, 7, 12, 19], 2))
    b = Builder(rng, "windows", (height, width, int(rng.choice([1, 3, 8, 9, 16, 24]))))
    pool = [b.input]
    for step in range(16):
        x = pool[int(rng.integers(len(pool)))]
        _, height, width, channels = b.tensors[x].shape
        kernel = (int(rng.integers(1, min(9, height) + 1)), int(rng.integers(1, min(9, width) + 1)))
        stride, relu = (int(rng.integers(1, 5)), int(rng.integers(1, 5))), bool(rng.integers(2))
        pads, kind = random_pads(rng, kernel), step % 8
        if kind < len(SPREAD):
            y = spread_convolution(b, rng, SPREAD[kind], x)
        elif kind == 4:
            y = b.conv(x, kernel, stride=stride, pads=pads, relu=relu)
        elif kind == 5:
            y = b.conv(x, kernel, channels=int(rng.integers(1, 30)), stride=stride, pads=pads, relu=relu)
        elif kind == 6:
            y = b.pool(x, "max" if relu else "average", kernel, stride=stride, pads=pads)
        else:
            rows = x if relu else b.reshape(x, (1, height * width * channels))
            product = b.fully_connected(rows, int(rng.integers(1, 70)), relu=relu, per_channel=stride[0] > 2)
            y = b.reshape(product, (1, 1, math.prod(b.tensors[product].shape[1:-1]), b.tensors[product].shape[-1]))
        pool.append(y)
    return checked(b, b.mean(pool[-1], keep_dims=False))


@both_rules
@m55
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
def test_drawn_windows(seed: int, target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(seed)
    graph = drawn_windows(rng)
    assert all(name.startswith("ts_mve") or name == "ts_reshape" for name in kernels_of(graph))
    assert_equal(target, graph, random_input(rng, graph, 2), rounding)


WINDOWS = [
    # height, width, channels in; kernel; channels out (None: depthwise); stride; pads; kernel's name
    pytest.param((5, 6, 32), (3, 3), 7, (1, 1), (1, 1, 1, 1), "conv2d", id="18 vectors"),
    pytest.param((3, 3, 256), (1, 1), 9, (1, 1), (0, 0, 0, 0), "conv2d", id="16 vectors, read in place"),
    pytest.param(
        (2, 5, 250),
        (1, 1),
        4,
        (1, 1),
        (0, 0, 0, 0),
        "conv2d",
        id="a 1x1 window of 16 vectors, not whole",
        marks=pytest.mark.slow,
    ),
    pytest.param((1, 9, 500), (1, 3), 2, (1, 2), (0, 1, 0, 1), "conv2d", id="94 vectors", marks=pytest.mark.slow),
    pytest.param((3, 2, 20), (2, 2), 19, (1, 1), (0, 0, 0, 0), "conv_rows", id="two pixels", marks=pytest.mark.slow),
    pytest.param((45, 1, 12), (15, 1), None, (1, 1), (14, 0, 0, 0), "depthwise_planes", id="15x1"),
    pytest.param(
        (1, 60, 9),
        (1, 40),
        None,
        (1, 3),
        (0, 9, 0, 7),
        "depthwise_planes",
        id="a row of 40 taps",
        marks=pytest.mark.slow,
    ),
    pytest.param((3, 3, 21), (3, 3), None, (1, 1), (1, 1, 1, 1), "depthwise_planes", id="a map narrower than a step"),
    pytest.param((12, 11, 5), (7, 5), None, (2, 1), (3, 2, 3, 2), "depthwise_planes", id="7x5", marks=pytest.mark.slow),
]


@both_rules
@m55
@pytest.mark.parametrize(("shape", "kernel", "channels", "stride", "pads", "name"), WINDOWS)
def test_each_window(shape, kernel, channels, stride, pads, name, target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(3)
    graph = convolution(rng, shape, kernel, channels=channels, stride=stride, pads=pads, relu=True)
    assert kernels_of(graph) == {f"ts_mve_{name}"}
    assert_equal(target, graph, random_input(rng, graph, 2), rounding, "ram")  # the output may overlap the input


@both_rules
@m55
@pytest.mark.parametrize(
    ("kernel", "channels", "name"),
    [((1, 1), 70, "conv_rows"), ((3, 3), None, "depthwise_planes"), ((1, 1), None, "depthwise_planes")],
)
def test_factors_from_nearly_nothing_to_256(kernel, channels, name, target: Target, rounding: Rounding) -> None:
    """Shifts to the left wrap around; without a shift there is one rounding; ties of both signs."""
    rng = np.random.default_rng(5)
    n = channels or 70
    bias = np.where(rng.random(n) < 0.5, 1, -1) * (2.0 ** rng.uniform(0, 30, n)).astype(np.int64)
    graph = convolution(
        rng, (3, 8, 1 if channels else n), kernel, channels=channels, bias=bias, x_quant=Quant.per_tensor(1.0, 3),
        weight_scale=2.0 ** rng.integers(-40, 9, n), out_quant=Quant.per_tensor(1.0, -7),
    )  # fmt: skip
    assert kernels_of(graph) == {f"ts_mve_{name}"}
    assert_equal(target, graph, random_input(rng, graph, 2), rounding)


@both_rules
@m55
def test_as_many_groups_as_channels(target: Target, rounding: Rounding) -> None:
    """Such a convolution is a depthwise one with several outputs for each channel."""
    rng = np.random.default_rng(6)
    b = Builder(rng, "groups", (9, 7, 12))
    graph = b.graph(b.convolution(b.input, ops.Conv2D((1, 2), (1, 1, 1, 1), groups=12), (3, 3), 36))
    assert kernels_of(graph) == {"ts_mve_depthwise_planes"}
    assert_equal(target, graph, random_input(rng, graph, 2), rounding)


@both_rules
@m55
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 8), (7, 3), (640, 128), (33, 67)])
def test_matrix_products_of_one_row(inputs: int, outputs: int, target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng([inputs, outputs])
    b = Builder(rng, "product", (1, 1, inputs))
    flat = b.fully_connected(b.reshape(b.input, (1, inputs)), outputs, relu=True, per_channel=True)
    graph = b.graph(b.fully_connected(flat, 5))
    assert_equal(target, graph, random_input(rng, graph, 3), rounding)
    out = graph.tensors[graph.output]
    fine = replace(out, quant=Quant.per_tensor(out.quant.scale[0] / 300, 5))  # a factor above one half
    shifted_left = replace(graph, tensors={**graph.tensors, out.name: fine})
    assert_equal(target, shifted_left, random_input(rng, graph, 3), rounding)


@both_rules
@m55
@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (5, 300), (7, 1)])
def test_averages_of_extremes_and_ties(kernel: tuple[int, int], target: Target, rounding: Rounding) -> None:
    """Counts that divide and that do not, more codes than a 16-bit sum can represent, and every code."""
    rng = np.random.default_rng(1)
    b = Builder(rng, "averages", (7, 300, 3), Quant.per_tensor(0.5, 12))
    graph = b.graph(b.pool(b.input, "average", kernel, stride=(2, 3), pads=(0, 0, 0, 0)))
    assert kernels_of(graph) == {"ts_mve_average_pool"}
    near = rng.integers(-1, 2, (7, 300, 3))
    codes = np.stack([np.full((7, 300, 3), v) for v in (-128, 127)] + [near, rng.integers(-128, 128, (7, 300, 3))])
    assert_equal(target, graph, codes.astype(np.int8), rounding)
