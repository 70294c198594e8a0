"""Fused calls and whole nets on the emulated Cortex-M55: every byte equals NumPy's, and limits of their cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware_harness.cpu.mve.nets import alike, drawn, kernels_of, m55
from tests.firmware_harness.drawing import checked
from tests.firmware_harness.equality import assert_equal, both_rules
from tests.firmware_harness.random_graphs import cp_mobile
from tests.graphs import Builder, Rng, random_input
from tinyscene.firmware_harness.build.targets import CORTEX_M55, Target
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import Graph


@both_rules
@m55
@pytest.mark.parametrize(("bias", "kernel"), [(True, "ts_mve_mul_lookup"), (False, "ts_mve_mul_affine")])
def test_grn_in_two_passes(bias: bool, kernel: str, target: Target, rounding: Rounding) -> None:
    for seed, channels in ((2, 37), (3, 16), (4, 3)):
        rng = np.random.default_rng(seed)
        b = Builder(rng, "grn", (9, 7, channels))
        graph = alike(b.graph(b.grn(b.input)), bias)
        assert {"ts_mve_lookup_mean", kernel} <= kernels_of(graph, "speed")
        for optimise in ("layers", "speed"):
            assert_equal(target, graph, random_input(rng, graph, 3), rounding, optimise)


def drawn_blocks(rng: Rng) -> Graph:
    """Consecutive inverted residuals: both strides, any padding, sums in either order, side branches."""
    b = Builder(rng, "blocks", (int(rng.integers(3, 14)), int(rng.integers(9, 40)), int(rng.integers(1, 20))))
    x = b.input
    for summed in rng.permutation(["nothing", "input", "side", "input"]).tolist():
        channels, narrow = b.tensors[x].shape[3], b.tensors[x].shape[2] < 18
        kernel = (int(rng.integers(1, 4)), int(rng.integers(2, 4)))
        stride = (1, 1) if summed == "input" else (int(rng.integers(1, 3)), 1 if narrow else int(rng.integers(1, 3)))
        pads = same = ((kernel[0] - 1) // 2, kernel[1] // 2, kernel[0] // 2, (kernel[1] - 1) // 2)
        relu = bool(rng.integers(2))
        inner = b.conv(
            b.conv(x, (1, 1), channels=int(rng.integers(1, 40)), relu=relu), kernel, stride=stride, pads=pads
        )
        inner = b.conv(inner, (1, 1), channels=int(rng.integers(1, 30)) if summed == "nothing" else channels)
        if summed != "nothing":
            side = x if summed == "input" else b.conv(x, kernel, stride=stride, pads=same)
            inner = b.add(*rng.permutation([inner, side]).tolist(), relu=relu)
        x = inner
    return checked(b, b.mean(x, keep_dims=False))


@both_rules
@m55
@given(seed=st.integers(0, 2**32 - 1))
@drawn
def test_drawn_blocks_row_by_row(seed: int, target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(seed)
    graph = drawn_blocks(rng)
    assert_equal(target, graph, random_input(rng, graph, 2), rounding, "ram")


@both_rules
@m55
@pytest.mark.parametrize(("variant", "arena_bytes"), [("dcase25", 48128), ("cpm23", 45504)])
def test_nets_in_little_memory(variant: str, arena_bytes: int, target: Target, rounding: Rounding) -> None:
    """48 KiB, with at most 15 % more instructions."""
    rng = np.random.default_rng(40)
    graph = cp_mobile(rng, variant)
    codes = random_input(rng, graph)
    assert "ts_mve_block" in kernels_of(graph, "ram")
    assert_equal(target, graph, codes, rounding, "ram")
    lean, fast = (FirmwareEngine(graph, CORTEX_M55, rounding, optimise=o).measure(codes) for o in ("ram", "speed"))
    assert lean.arena_bytes <= arena_bytes
    assert lean.instructions is not None
    assert fast.instructions is not None
    assert lean.instructions < 1.15 * fast.instructions


@m55
@pytest.mark.parametrize(("variant", "bar"), [("dcase25", 7.0e6), ("cpm23", 6.9e6)])
def test_instructions(variant: str, bar: float, target: Target) -> None:
    """At most 14 million instructions, and no more than reached so far."""
    rng = np.random.default_rng(40)
    graph = alike(cp_mobile(rng, variant))
    assert all(name.startswith("ts_mve") for name in kernels_of(graph, "speed"))
    assert graph_cost(graph, "stored").macs > 28e6
    figures = FirmwareEngine(graph, CORTEX_M55, optimise="speed").measure(random_input(rng, graph))
    assert figures.instructions is not None
    assert figures.instructions < bar
