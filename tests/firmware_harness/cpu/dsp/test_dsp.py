"""Every byte of the DSP kernels equals NumPy's: assembly on the emulated Cortex-M4, C equivalents with sanitizers.

A drawn net has many layers, so that one build and run tests many shapes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.firmware_harness.cpu.dsp.nets import block, drawn_blocks, drawn_net
from tests.firmware_harness.drawing import checked
from tests.firmware_harness.equality import assert_equal, both_rules
from tests.firmware_harness.machines import on
from tests.firmware_harness.random_graphs import convolution, cp_mobile, unit_weights, with_quant
from tests.graphs import Builder, random_input
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M7, CORTEX_M33, HOST, Target
from tinyscene.firmware_harness.cpu.dsp_constants import offsets
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.emit.schedule import Optimise, segments
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.arith import Quant, Rescale, Rounding, fixed_point, rescale_double
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run

TWINS = replace(HOST, name="host-dsp", cpu="dsp")
machines = pytest.mark.parametrize("target", [on(CORTEX_M4), on(TWINS)])
m4 = pytest.mark.parametrize("target", [on(CORTEX_M4)])
drawn = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**32 - 1)


def kernels_of(graph: Graph, optimise: Optimise = "layers") -> list[str]:
    return [call.layer.kernel for call in emit(graph, kernel_set_named("dsp"), optimise).calls]


@both_rules
@machines
@given(seed=seeds)
@drawn
def test_drawn_nets(target: Target, rounding: Rounding, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = drawn_net(rng)
    assert_equal(target, graph, random_input(rng, graph, 3), rounding)


@both_rules
@machines
@given(seed=seeds, optimise=st.sampled_from(["speed", "ram"]))
@drawn
def test_drawn_blocks(target: Target, rounding: Rounding, seed: int, optimise: Optimise) -> None:
    rng = np.random.default_rng(seed)
    graph = drawn_blocks(rng)
    assert_equal(target, graph, random_input(rng, graph, 3), rounding, optimise)


def test_fused_calls() -> None:
    """In the measured net, only the mean runs on a portable kernel."""
    graph = cp_mobile(np.random.default_rng(40), "dcase25")
    assert kernels_of(graph, "ram") == ["ts_dsp_conv2d"] * 2 + ["ts_dsp_block"] * 6 + ["ts_dsp_conv2d", "ts_mean"]
    assert [name for name in kernels_of(graph, "speed") if not name.startswith("ts_dsp_")] == ["ts_mean"]
    assert kernels_of(graph, "speed").count("ts_dsp_block") == 2
    grn = cp_mobile(np.random.default_rng(40), "cpm23")
    counts = {name: kernels_of(grn, "ram").count(f"ts_dsp_{name}") for name in ("block", "table_mean", "gain")}
    assert counts == {"block": 5, "table_mean": 6, "gain": 6}  # the block behind the largest gain fits as layers


@both_rules
@pytest.mark.parametrize("target", [on(CORTEX_M7), on(CORTEX_M33)])
def test_other_processors(target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(11)
    b = Builder(rng, "other", (9, 17, 3))
    x = b.conv(b.input, (3, 3), channels=6, stride=(2, 2), pads=(1, 1, 1, 1), relu=True)
    for kind in ("input", "side"):
        x = b.grn(block(b, rng, x, kind))
    graph = checked(b, b.mean(x, keep_dims=False))
    assert_equal(target, graph, random_input(rng, graph, 2), rounding, "speed")


@both_rules
@machines
def test_every_number_of_groups_and_channels(target: Target, rounding: Rounding) -> None:
    """The loop over inputs is unrolled and entered in the middle; odd and even rows, quads that are not full."""
    rng = np.random.default_rng(2)
    b = Builder(rng, "deep", (3, 5, 131))
    x = b.conv(b.conv(b.input, (1, 1), channels=401), (3, 4), channels=6, pads=(1, 1, 1, 1))
    for channels in (1, 4, 5, 7, 10, 13, 17, 23, 30, 33, 3):
        x = b.conv(x, (1, 1), channels=channels)
    graph = checked(b, x)
    assert set(kernels_of(graph)) == {"ts_dsp_conv2d"}
    assert_equal(target, graph, random_input(rng, graph, 2), rounding)


@both_rules
@machines
@pytest.mark.parametrize("optimise", ["layers", "ram"])
def test_depthwise_in_strips(target: Target, rounding: Rounding, optimise: Optimise) -> None:
    """Maps of more rows than a strip: rows that two strips see, in place and not, with channels that are no four."""
    rng = np.random.default_rng(8)
    for channels in (2, 7):
        b = Builder(rng, "strips", (45, 40, channels))
        x = b.conv(b.input, (1, 1), channels=channels)
        x = b.conv(x, (3, 3), pads=(1, 1, 1, 1), relu=True)
        x = b.conv(b.conv(x, (3, 3), pads=(2, 0, 0, 2)), (3, 3), pads=(0, 1, 2, 1))
        x = b.conv(b.conv(x, (3, 3), stride=(1, 2), pads=(3, 2, 1, 1)), (3, 3), stride=(2, 1))
        graph = checked(b, b.conv(x, (3, 3), stride=(3, 2), pads=(1, 1, 1, 1), relu=True))
        calls = emit(graph, kernel_set_named("dsp"), optimise).calls
        strips = [c.layer for c in calls if c.layer.kernel == "ts_dsp_depthwise"]
        assert len(strips) == 6
        assert [layer.lead is not None and layer.lead.in_place for layer in strips] == [True] * 3 + [False] * 3
        assert all(layer.fields["strips"]["rows"] < layer.fields["window"]["out_height"] for layer in strips[:3])  # type: ignore[index]
        assert_equal(target, graph, random_input(rng, graph, 2), rounding, optimise)


@both_rules
@machines
def test_every_number_of_inputs_of_a_matrix(target: Target, rounding: Rounding) -> None:
    """Few rows are multiplied as they are: steps of four inputs, eight a turn, and what is left of a step or a quad."""
    rng = np.random.default_rng(3)
    b = Builder(rng, "matrices", (1, 3, 1))
    x = b.reshape(b.input, (1, 3, 1))
    for outputs in (2, 3, 5, 8, 31, 33, 38, 1):
        x = b.fully_connected(x, outputs, relu=bool(outputs % 2), per_channel=outputs > 4)
    graph = checked(b, x)
    assert kernels_of(graph).count("ts_dsp_dense") == 8
    assert_equal(target, graph, random_input(rng, graph, 3), rounding)


@both_rules
@machines
@pytest.mark.parametrize("wide", [4, 131])
def test_blocks_of_one_pixel_and_of_many_channels(target: Target, rounding: Rounding, wide: int) -> None:
    rng = np.random.default_rng(wide)
    for shape in ((1, 1, 2), (1, 6, 4), (5, 1, 6)):
        b = Builder(rng, "thin", shape)
        x = block(b, rng, block(b, rng, b.input, "input", wide), "side", wide)
        graph = checked(b, x)
        variants = segments(graph, kernel_set_named("dsp"))  # of which `ram` may take others here: they need less
        calls = tuple(call for (call,) in (next(v for v in each if len(v) == 1) for each in variants))
        assert [call.layer.kernel for call in calls] == ["ts_dsp_block"] * 2
        codes, engine = random_input(rng, graph, 2), FirmwareEngine(graph, target, rounding, calls=calls)
        assert np.array_equal(engine.output_codes(codes), run(graph, codes, rounding=rounding))


def test_blocks_of_narrow_maps_only_save_memory() -> None:
    """Rows of few pixels are slower in a block than layers that are read as longer rows."""
    for width, fused in ((15, False), (16, True)):
        b = Builder(np.random.default_rng(4), "narrow", (7, width, 4))
        graph = checked(b, block(b, np.random.default_rng(4), b.input, "input"))
        assert kernels_of(graph, "ram") == ["ts_dsp_block"]
        assert (kernels_of(graph, "speed") == ["ts_dsp_block"]) is fused


@both_rules
@machines
@pytest.mark.parametrize("zero_point", [-128, 127])
@pytest.mark.parametrize("code", [-128, 127])
def test_largest_sums(target: Target, rounding: Rounding, zero_point: int, code: int) -> None:
    """Constant inputs at the far end from the zero point, all weights at one end, outputs that saturate."""
    rng = np.random.default_rng(21)
    quant, out = Quant.per_tensor(0.03, zero_point), Quant.per_tensor(0.05, 3)
    for kernel, channels in (((3, 3), 6), ((1, 1), 5), ((3, 3), None)):
        count = channels or 8
        weight_shape = (channels, *kernel, 8) if channels else (1, *kernel, 8)
        axis = 0 if channels else 3
        ends = np.moveaxis(np.full(weight_shape, 127), axis, -1) * np.where(np.arange(count) % 2, 1, -1)
        graph = convolution(
            rng, (4, 5, 8), kernel, channels=channels, pads=(1, 1, 1, 1), x_quant=quant, out_quant=out,
            weight=np.moveaxis(ends, -1, axis),
        )  # fmt: skip
        assert_equal(target, graph, np.full((1, 4, 5, 8), code, np.int8), rounding)


@both_rules
@machines
@pytest.mark.parametrize("zero_point", [-128, -5, 127])
def test_relu_with_any_zero_point(target: Target, rounding: Rounding, zero_point: int) -> None:
    rng = np.random.default_rng(3)
    for channels, kernel in ((7, (1, 1)), (None, (3, 3))):
        out = Quant.per_tensor(0.02, zero_point)
        graph = convolution(rng, (5, 6, 8), kernel, channels=channels, pads=(1, 1, 1, 1), out_quant=out, relu=True)
        assert kernels_of(graph)[0].startswith("ts_dsp_")
        assert_equal(target, graph, random_input(rng, graph, 2), rounding)


@machines
def test_exact_ties(target: Target) -> None:
    """Scales that are powers of two and a first layer that copies: half of the sums are halfway between two codes."""
    b = Builder(np.random.default_rng(5), "ties", (16, 17, 2), Quant.per_tensor(0.5, 3))
    wide = b.conv(b.input, (1, 1), channels=6, relu=True)
    middle = b.conv(wide, (3, 3), pads=(1, 1, 1, 1), relu=True)
    product = b.conv(middle, (1, 1), channels=2)
    graph = b.graph(b.mean(b.add(product, b.input)))
    tensors = {name: unit_weights(t) for name, t in graph.tensors.items()}
    quants = {wide: (1.0, -128), middle: (2.0, -128), product: (4.0, -4), graph.nodes[3].output: (4.0, 7)}
    graph = with_quant(
        replace(graph, tensors=tensors), {name: Quant.per_tensor(*quant) for name, quant in quants.items()}
    )
    codes = random_input(np.random.default_rng(0), graph, 2)
    assert kernels_of(graph, "speed")[0] == "ts_dsp_block"
    seen = []
    for rounding in get_args(Rounding):
        assert_equal(target, graph, codes, rounding, "speed")
        seen.append(assert_equal(target, graph, codes, rounding))
    for name in (wide, product):
        assert (seen[0][name] != seen[1][name]).any(), f"{name} met no tie"


@both_rules
@m4
def test_factors_with_a_left_shift_use_the_portable_kernels(target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(9)
    graph = convolution(rng, (3, 4, 5), (1, 1), channels=4, weight_scale=[0.01, 0.02, 30.0, 0.001])
    assert kernels_of(graph) == ["ts_dense"]
    assert_equal(target, graph, random_input(rng, graph, 2), rounding)


@both_rules
@machines
def test_channels_that_rescale_to_zero(target: Target, rounding: Rounding) -> None:
    """Scales near zero, as of channels that training has disabled: the output is the zero point for every input."""
    rng = np.random.default_rng(9)
    graph = convolution(rng, (3, 4, 5), (1, 1), channels=4, weight_scale=[0.01, 2e-9, 1e-7, 3e-5])
    assert kernels_of(graph) == ["ts_dsp_conv2d"]
    assert_equal(target, graph, random_input(rng, graph, 2), rounding)


@settings(max_examples=300, deadline=None)
@given(seed=seeds, real=st.floats(2.0**-21, 0.4999), zero_point=st.integers(-128, 127))
def test_folded_rounding_equals_the_two_roundings(seed: int, real: float, zero_point: int) -> None:
    """The offset, the sign and one shift compared with arith.py, on random accumulators and next to ties."""
    rng = np.random.default_rng(seed)
    multiplier, shift = fixed_point(np.array([real]))
    ((m, offset, right, _),) = offsets(
        Rescale(multiplier, shift, np.ones(1, np.float32)), np.array([2**30]), zero_point
    )  # type: ignore[misc]
    ties = ((rng.integers(-300, 300, 200) + 0.5) / real)[:, None] + np.arange(-3, 4)
    far = rng.integers(-(2**30) + 1, 2**30, 200)
    acc = np.concatenate([np.clip(np.rint(ties).astype(np.int64).ravel(), 1 - 2**30, 2**30 - 1), far])
    high = (2 * acc * m + 2**31) >> 32
    folded = np.clip((high + offset + (acc >> 63)) >> right, -128, 127)
    expected = np.clip(rescale_double(acc, multiplier, shift) + zero_point, -128, 127)
    assert np.array_equal(folded, expected)
    assert np.abs(high + offset).max() < 2**31
