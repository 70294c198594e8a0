"""Choosing by counted instructions: never slower than allowed, never larger than needed, and remembered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.random_graphs import cp_mobile
from tests.graphs import random_input, small_net
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, HOST
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.schedule import plan_calls, schedule, stretches
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
def test_stretches_begin_as_speed_and_end_as_ram(kernels: str, graph: Graph) -> None:
    """In between, each way runs its stretch from end to end."""
    ways = stretches(graph, kernel_set_named(kernels))
    for mode, place in (("speed", 0), ("ram", -1)):
        whole = [call.nodes for way in ways for call in way[place]]
        assert whole == [call.nodes for call in schedule(graph, kernel_set_named(kernels), mode)]  # type: ignore[arg-type]
    for stretch in ways:
        assert {(calls[0].nodes.start, calls[-1].nodes.stop) for calls in stretch} == {
            (stretch[0][0].nodes.start, stretch[0][-1].nodes.stop)
        }
    n_ways = {"c99": 1, "dsp": 4, "mve": 2}[kernels]
    assert max(map(len, ways)) == n_ways


@needs_arm
def test_balanced_sees_the_calls_that_only_ram_makes(tmp_path: Path) -> None:
    """On Helium `speed` fuses no block; a fused one that costs 2 % of all must still be found."""
    graph = small_net(np.random.default_rng(3), grn=True)
    tuned = tune(graph, CORTEX_M55, "double", cache=tmp_path / "counts.json")
    assert "ts_mve_block" in [call.layer.kernel for call in tuned.calls]
    assert tuned.costs["balanced"].arena_bytes == tuned.costs["ram"].arena_bytes < tuned.costs["speed"].arena_bytes
    assert tuned.costs["balanced"].instructions <= 1.05 * tuned.costs["speed"].instructions


@needs_arm
def test_balanced_lies_between_speed_and_ram(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tmp_path / "counts.json"
    tuned = tune(graph, CORTEX_M4, "double", cache=counts)
    fastest = sum(min(way.instructions for way in ways) for ways in tuned.ways)
    cost = tuned.costs["balanced"]
    assert fastest <= cost.instructions <= 1.05 * fastest
    assert _arena(graph, "ram") <= cost.arena_bytes <= _arena(graph, "speed")
    assert {mode: _arena(graph, mode) for mode in ("speed", "ram")} == {
        mode: tuned.costs[mode].arena_bytes for mode in ("speed", "ram")
    }
    assert tuned.costs["speed"].instructions == sum(ways[0].instructions for ways in tuned.ways)
    x = random_input(np.random.default_rng(2), graph)
    engine = FirmwareEngine(graph, CORTEX_M4, "double", calls=tuned.calls)
    assert np.array_equal(engine.output_codes(x), run(graph, x))
    measured = engine.measure(x).instructions
    assert measured is not None
    assert abs(measured - cost.instructions) < 0.02 * measured
    kernels = {call.layer.kernel for ways in tuned.ways for way in ways for call in way.calls}
    assert len(json.loads(counts.read_text())) >= len(kernels)

    monkeypatch.setattr(module, "FirmwareEngine", None)  # all is remembered: the emulator is not asked again
    again = tune(graph, CORTEX_M4, "double", cache=counts)
    assert again.chosen == tuned.chosen


@needs_arm
def test_without_slack_it_is_the_fastest_and_with_all_slack_the_leanest(graph: Graph, tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    tuned = tune(graph, CORTEX_M4, "double", slack=0.0, cache=counts)
    fast = tuned.costs["balanced"]
    lean = tune(graph, CORTEX_M4, "double", slack=10.0, cache=counts).costs["balanced"]
    assert fast.instructions == sum(min(way.instructions for way in ways) for ways in tuned.ways)
    assert lean.arena_bytes == min(_arena(graph, "ram"), lean.arena_bytes)
    assert lean.arena_bytes <= fast.arena_bytes
    assert lean.instructions >= fast.instructions


@needs_arm
def test_a_damaged_memory_is_counted_again(graph: Graph, tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    counts.write_text("{ half a fi")
    assert tune(graph, CORTEX_M4, "double", cache=counts).costs["balanced"].instructions > 1e6


def test_this_machine_does_not_count(graph: Graph) -> None:
    with pytest.raises(FirmwareError, match="no counter"):
        tune(graph, HOST, "double")
