"""Choosing by counted instructions: at most as slow as allowed, no larger than needed, and cached."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.random_graphs import cp_mobile
from tests.graphs import random_input, small_net
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, HOST
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.schedule import plan_calls, schedule, segments
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run import tune as module
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.firmware_harness.run.tune import tune
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run

needs_arm = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return cp_mobile(np.random.default_rng(1), "dcase25")


def _arena(graph: Graph, optimise: str) -> int:
    return plan_calls(graph, schedule(graph, kernel_set_named("dsp"), optimise)).arena_bytes  # type: ignore[arg-type]


@pytest.mark.parametrize("kernels", ["c99", "dsp", "mve"])
def test_segments_begin_with_speed_and_end_with_ram(kernels: str, graph: Graph) -> None:
    """Every variant of a segment runs the same nodes."""
    all_variants = segments(graph, kernel_set_named(kernels))
    for mode, index in (("speed", 0), ("ram", -1)):
        nodes = [call.nodes for variants in all_variants for call in variants[index]]
        assert nodes == [call.nodes for call in schedule(graph, kernel_set_named(kernels), mode)]  # type: ignore[arg-type]
    for variants in all_variants:
        assert len({(calls[0].nodes.start, calls[-1].nodes.stop) for calls in variants}) == 1
    assert max(map(len, all_variants)) == {"c99": 1, "dsp": 4, "mve": 2}[kernels]


@needs_arm
def test_balanced_uses_calls_of_the_ram_mode(tmp_path: Path) -> None:
    """On Helium `speed` fuses no block; a fused block that costs 2 % of the total is still chosen."""
    graph = small_net(np.random.default_rng(3), grn=True)
    tuned = tune(graph, CORTEX_M55, "double", cache=tmp_path / "counts.json")
    assert "ts_mve_block" in [call.layer.kernel for call in tuned.calls]
    assert tuned.costs["balanced"].arena_bytes == tuned.costs["ram"].arena_bytes < tuned.costs["speed"].arena_bytes
    assert tuned.costs["balanced"].instructions <= 1.05 * tuned.costs["speed"].instructions


@needs_arm
def test_balanced_is_between_speed_and_ram(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tmp_path / "counts.json"
    tuned = tune(graph, CORTEX_M4, "double", cache=counts)
    fastest = sum(min(variant.instructions for variant in variants) for variants in tuned.variants)
    cost = tuned.costs["balanced"]
    assert fastest <= cost.instructions <= 1.05 * fastest
    assert _arena(graph, "ram") <= cost.arena_bytes <= _arena(graph, "speed")
    assert {mode: _arena(graph, mode) for mode in ("speed", "ram")} == {
        mode: tuned.costs[mode].arena_bytes for mode in ("speed", "ram")
    }
    assert tuned.costs["speed"].instructions == sum(variants[0].instructions for variants in tuned.variants)
    x = random_input(np.random.default_rng(2), graph)
    engine = FirmwareEngine(graph, CORTEX_M4, "double", calls=tuned.calls)
    assert np.array_equal(engine.output_codes(x), run(graph, x))
    measured = engine.measure(x).instructions
    assert measured is not None
    assert abs(measured - cost.instructions) < 0.02 * measured
    kernels = {call.layer.kernel for variants in tuned.variants for variant in variants for call in variant.calls}
    assert len(json.loads(counts.read_text())) >= len(kernels)

    monkeypatch.setattr(module, "FirmwareEngine", None)  # all counts are cached: the emulator does not run again
    again = tune(graph, CORTEX_M4, "double", cache=counts)
    assert again.chosen == tuned.chosen


@needs_arm
def test_no_slack_gives_the_fastest_and_large_slack_the_leanest(graph: Graph, tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    tuned = tune(graph, CORTEX_M4, "double", slack=0.0, cache=counts)
    fast = tuned.costs["balanced"]
    lean = tune(graph, CORTEX_M4, "double", slack=10.0, cache=counts).costs["balanced"]
    assert fast.instructions == sum(min(variant.instructions for variant in variants) for variants in tuned.variants)
    assert lean.arena_bytes == min(_arena(graph, "ram"), lean.arena_bytes)
    assert lean.arena_bytes <= fast.arena_bytes
    assert lean.instructions >= fast.instructions


@needs_arm
def test_a_damaged_cache_is_counted_again(graph: Graph, tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    counts.write_text("{ half a fi")
    assert tune(graph, CORTEX_M4, "double", cache=counts).costs["balanced"].instructions > 1e6


def test_the_host_has_no_counter(graph: Graph) -> None:
    with pytest.raises(FirmwareError, match="no instruction counter"):
        tune(graph, HOST, "double")
