"""Every byte of every layer in C equals NumPy's, on this machine with sanitizers and on the emulated processors."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from tests.firmware_harness.equality import assert_equal, both_rules
from tests.firmware_harness.machines import each_kernel_set, everywhere, on_each
from tests.firmware_harness.random_graphs import convolution, cp_mobile, random_net, tie_net, with_quant
from tests.graphs import OP_KINDS, Builder, one_op, random_input, small_net
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, HOST, RISCV32, Target
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import Graph, Node, Quant
from tinyscene.runtime.interpreter import run


@both_rules
@everywhere
@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
def test_small_net(target: Target, rounding: Rounding, grn: bool) -> None:
    rng = np.random.default_rng(11)
    graph = small_net(rng, grn=grn)
    assert_equal(target, graph, random_input(rng, graph, 5), rounding)


@both_rules
@each_kernel_set
@pytest.mark.parametrize("seed", range(4))
def test_random_nets(target: Target, rounding: Rounding, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_net(rng)
    assert {type(node.op) for node in graph.nodes} == set(ops.OPS)
    assert_equal(target, graph, random_input(rng, graph, 3), rounding)


@both_rules
@on_each([HOST, CORTEX_M4, CORTEX_M55, RISCV32])
@pytest.mark.parametrize("variant", ["dcase25", "cpm23"])
def test_nets_of_full_size(target: Target, rounding: Rounding, variant: str) -> None:
    rng = np.random.default_rng(40)
    graph = cp_mobile(rng, variant)
    assert 28e6 < graph_cost(graph, "stored").macs < 31e6
    assert_equal(target, graph, random_input(rng, graph), rounding)


@both_rules
@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("kind", OP_KINDS)
def test_each_op_alone(kind: str, rounding: Rounding) -> None:
    for seed in range(3):
        rng = np.random.default_rng([seed, OP_KINDS.index(kind)])
        graph = one_op(rng, kind)
        assert_equal(HOST, graph, random_input(rng, graph, 8), rounding)


WINDOWS = [
    # height, width, channels in; kernel; channels out (None: depthwise); stride; pads
    pytest.param((1, 1, 1), (1, 1), 1, (1, 1), (0, 0, 0, 0), id="one of everything"),
    pytest.param((1, 1, 7), (3, 3), 5, (1, 1), (1, 1, 1, 1), id="one pixel under a 3x3 kernel"),
    pytest.param((1, 1, 17), (3, 3), None, (2, 2), (1, 1, 1, 1), id="one pixel, depthwise, stride 2"),
    pytest.param((1, 9, 3), (1, 5), 33, (1, 3), (0, 4, 0, 0), id="a row, padded on the left only"),
    pytest.param((9, 1, 33), (5, 1), None, (3, 1), (0, 0, 4, 0), id="a column, padded below only"),
    pytest.param((7, 5, 6), (3, 2), 3, (3, 2), (2, 0, 0, 1), id="odd sizes, four different pads"),
    pytest.param((8, 6, 2), (5, 5), 2, (4, 1), (0, 2, 3, 2), id="stride larger than what is left"),
    pytest.param((2, 2, 3), (2, 2), 4, (1, 1), (5, 4, 3, 6), id="windows on padding only"),
    pytest.param((2, 3, 16), (3, 3), None, (1, 2), (4, 5, 6, 3), id="depthwise windows on padding only"),
    pytest.param((6, 6, 4), (6, 6), 1, (1, 1), (0, 0, 0, 0), id="kernel as large as the map"),
]


@both_rules
@each_kernel_set
@pytest.mark.parametrize(("shape", "kernel", "channels", "stride", "pads"), WINDOWS)
def test_windows(shape, kernel, channels, stride, pads, target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(3)
    graph = convolution(rng, shape, kernel, channels=channels, stride=stride, pads=pads)
    assert_equal(target, graph, random_input(rng, graph, 4), rounding)


@both_rules
@everywhere
def test_accumulators_over_all_of_int32(target: Target, rounding: Rounding) -> None:
    """Biases up to the int32 limits, factors from far above one to nearly zero: saturation at both ends.

    Under `double`, products of a factor above 1 wrap around in int32.
    """
    rng = np.random.default_rng(8)
    size = (2.0 ** rng.uniform(0, 30.99, 600)).astype(np.int64)
    bias = np.where(rng.random(600) < 0.5, -size, size)
    size = np.minimum(size, 2**31 - 1 - 127 * 133)  # one weight, and the largest distance of a code from the zero point
    weight_scale = 2.0 ** rng.uniform(-30, 30, 600) * 0.1 / 0.03 / 2
    graph = convolution(rng, (2, 3, 1), (1, 1), channels=600, bias=bias, weight_scale=weight_scale)
    trace = assert_equal(target, graph, random_input(rng, graph, 4), rounding)
    assert {-128, 127} < set(np.unique(trace["y"]).tolist())


@both_rules
@each_kernel_set
def test_sums_beyond_int32_wrap_around(target: Target, rounding: Rounding) -> None:
    """Biases at the limits of int32, in a block that kernels otherwise compute in one call."""
    rng = np.random.default_rng(9)
    graph = small_net(rng, grn=False)
    for node in graph.nodes[:6]:
        if ops.has_weight(node.op):
            graph = _with_biases_at_the_limits(rng, graph, node)
    assert_equal(target, graph, random_input(rng, graph, 3), rounding)


def _with_biases_at_the_limits(rng: np.random.Generator, graph: Graph, node: Node) -> Graph:
    """Scales so small that the limits are 100 codes."""
    x, weight, bias = graph.ins(node)
    scale = np.full(bias.shape, graph.out(node).quant.scale[0] * 100 / 2**31 / x.quant.scale[0], np.float32)
    data = np.where(rng.random(bias.shape) < 0.5, -(2**31), 2**31 - 1).astype(np.int32)
    changed = (
        replace(weight, quant=replace(weight.quant, scale=tuple(scale.tolist()))),
        replace(
            bias, quant=replace(bias.quant, scale=tuple((scale * np.float32(x.quant.scale[0])).tolist())), data=data
        ),
    )
    return replace(graph, tensors={**graph.tensors, **{t.name: t for t in changed}}).check()


@both_rules
@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("zero_point", [-128, 0, 127])
@pytest.mark.parametrize("code", [-128, 127])
def test_constant_extreme_inputs(zero_point: int, code: int, rounding: Rounding) -> None:
    rng = np.random.default_rng(21)
    quant = Quant.per_tensor(0.03, zero_point)
    graph = convolution(rng, (4, 4, 9), (3, 3), channels=6, pads=(1, 1, 1, 1), x_quant=quant, relu=True)
    assert_equal(HOST, graph, np.full((1, 4, 4, 9), code, np.int8), rounding)


@everywhere
def test_exact_ties(target: Target) -> None:
    """Half of the sums are halfway between two codes, where the rounding rules differ."""
    graph = tie_net()
    channel = np.arange(-128, 128, dtype=np.int8)
    rng = np.random.default_rng(0)
    codes = np.stack([channel, rng.permutation(channel)], axis=1).reshape(1, 16, 16, 2)
    double, single = (assert_equal(target, graph, codes, rounding) for rounding in get_args(Rounding))
    for node in graph.nodes[:5]:
        assert (double[node.output] != single[node.output]).any(), f"{node.name} met no tie"


@both_rules
@pytest.mark.needs_tool("gcc")
def test_sums_and_products_of_unequal_scales(rounding: Rounding) -> None:
    """One summand nearly a thousand times the other, and outputs that saturate: the limits of check()."""
    rng = np.random.default_rng(17)
    b = Builder(rng, "scales", (5, 3, 4))
    small = b.conv(b.input, (1, 1))
    sums = [b.add(b.input, small), b.add(small, b.input, relu=True), b.mul(b.input, small), b.mean(small)]
    graph = b.graph(b.mean(b.input, over="channels", keep_dims=False))
    for scale in (0.005, 1.0):
        quants = {name: Quant.per_tensor(scale, 11) for name in sums}
        changed = with_quant(graph, {b.input: Quant.per_tensor(1.0, -3), small: Quant.per_tensor(0.0012, 90), **quants})
        assert_equal(HOST, changed, random_input(rng, graph, 4), rounding)


@both_rules
@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("size", [511, 512, 9000])  # whose equal exponentials sum to 29, 29 and 33 bits
def test_a_softmax_of_long_rows(rounding: Rounding, size: int) -> None:
    b = Builder(np.random.default_rng(1), "row", (1, 1, size), Quant.per_tensor(0.05, 3))
    graph = b.graph(b.softmax(b.input))
    codes = random_input(np.random.default_rng(2), graph, 3)
    codes[0] = 5
    codes[1, 0, 0, :-1] = -128
    assert_equal(HOST, graph, codes, rounding)


@pytest.mark.needs_tool("gcc")
def test_many_vectors_are_split_and_joined() -> None:
    rng = np.random.default_rng(2)
    graph = one_op(rng, "depthwise_conv2d")
    codes = random_input(rng, graph, 37)
    engine = FirmwareEngine(graph, HOST, "single")
    assert np.array_equal(engine.output_codes(codes), run(graph, codes, rounding="single"))
    assert np.array_equal(engine.outputs(codes)[graph.output], engine.output_codes(codes))
