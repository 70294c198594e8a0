"""Choosing by counted instructions: at most as slow as allowed, no larger than needed, and cached."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tests.export.formats.tflite_models import NETS
from tests.firmware_harness.random_graphs import cp_mobile
from tests.graphs import random_input, small_net
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, HOST
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.cycles.boards import NUCLEO_L4R5ZI
from tinyscene.firmware_harness.cycles.estimate import machine_of_board
from tinyscene.firmware_harness.emit.schedule import Optimise, plan_calls, schedule, segments
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


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cached counts of ``graph`` for all tests: counting takes most of their time."""
    return tmp_path_factory.mktemp("tune") / "counts.json"


def _arena(graph: Graph, optimise: str) -> int:
    return plan_calls(graph, schedule(graph, kernel_set_named("dsp"), optimise)).arena_bytes  # type: ignore[arg-type]


@pytest.mark.parametrize("kernels", ["c99", "dsp", "mve"])
def test_segments_have_every_mode(kernels: str, graph: Graph) -> None:
    """Every variant of a segment runs the same nodes."""
    all_variants = segments(graph, kernel_set_named(kernels))
    for mode in ("layers", "speed", "ram"):
        wanted = [call.nodes for call in schedule(graph, kernel_set_named(kernels), mode)]  # type: ignore[arg-type]
        for variants in all_variants:
            assert any({call.nodes for call in calls} <= set(wanted) for calls in variants), mode
            if mode == "speed":  # first, but for those that need the least
                assert any({call.nodes for call in calls} <= set(wanted) for calls in (variants[0], variants[-1]))
    for variants in all_variants:
        assert len({(calls[0].nodes.start, calls[-1].nodes.stop) for calls in variants}) == 1
    assert max(map(len, all_variants)) == {"c99": 1, "dsp": 21, "mve": 2}[kernels]


@pytest.mark.parametrize("kernels", ["c99", "dsp", "mve"])
def test_no_mode_needs_less_memory_than_ram(kernels: str) -> None:
    """A fused call may need more scratch memory than the activations that it saves, as in DS-CNN on Helium."""
    net, output = NETS["ds_cnn"](np.random.default_rng(12))
    small = tflite_model(net.finish(output), "ds_cnn").graph
    arenas = {
        mode: plan_calls(small, schedule(small, kernel_set_named(kernels), mode)).arena_bytes
        for mode in get_args(Optimise)
    }
    assert arenas["ram"] == min(arenas.values())
    leanest = tuple(chain(*(variants[-1] for variants in segments(small, kernel_set_named(kernels)))))
    assert plan_calls(small, leanest).arena_bytes == arenas["ram"]


@needs_arm
def test_balanced_uses_calls_of_the_ram_mode(tmp_path: Path) -> None:
    """On Helium `speed` fuses no block; a fused block that costs 2 % of the total is still chosen."""
    graph = small_net(np.random.default_rng(3), grn=True)
    tuned = tune(graph, CORTEX_M55, "double", cache=tmp_path / "counts.json")
    assert "ts_mve_block" in [call.layer.kernel for call in tuned.calls]
    assert tuned.costs["balanced"].arena_bytes == tuned.costs["ram"].arena_bytes < tuned.costs["speed"].arena_bytes
    assert tuned.machine is not None
    assert tuned.machine.board is None  # none stands for the target: no wait states
    balanced, speed = tuned.costs["balanced"].cycles, tuned.costs["speed"].cycles
    assert balanced is not None
    assert speed is not None
    assert balanced <= 1.05 * speed


@needs_arm
def test_balanced_is_between_speed_and_ram(graph: Graph, counts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = tune(graph, CORTEX_M4, "double", cache=counts)
    assert tuned.machine is not None
    assert tuned.machine.board is NUCLEO_L4R5ZI
    fastest = sum(min(variant.work for variant in variants) for variants in tuned.variants)
    cost = tuned.costs["balanced"]
    assert cost.cycles is not None
    assert 0.999 * fastest <= cost.cycles <= 1.05 * fastest
    assert _arena(graph, "ram") <= cost.arena_bytes <= _arena(graph, "speed")
    assert {mode: _arena(graph, mode) for mode in ("speed", "ram")} == {
        mode: tuned.costs[mode].arena_bytes for mode in ("speed", "ram")
    }
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
def test_no_slack_gives_the_fastest_and_large_slack_the_leanest(graph: Graph, counts: Path) -> None:
    tuned = tune(graph, CORTEX_M4, "double", slack=0.0, cache=counts)
    fast = tuned.costs["balanced"]
    lean = tune(graph, CORTEX_M4, "double", slack=10.0, cache=counts).costs["balanced"]
    assert fast.cycles == pytest.approx(sum(min(v.work for v in variants) for variants in tuned.variants), rel=1e-3)
    assert lean.arena_bytes == min(_arena(graph, "ram"), lean.arena_bytes)
    assert lean.arena_bytes <= fast.arena_bytes
    assert lean.cycles is not None
    assert lean.cycles >= 0.999 * fast.cycles


@needs_arm
def test_modes_are_chosen_by_cycles_of_a_given_board(graph: Graph, counts: Path) -> None:
    """`speed` takes no more cycles than any other mode, and `ram` no more arena."""
    machine = machine_of_board(NUCLEO_L4R5ZI)
    fast, lean = (tune(graph, CORTEX_M4, "double", mode, machine=machine, cache=counts) for mode in ("speed", "ram"))
    speed, ram = fast.costs["speed"], lean.costs["ram"]
    assert speed.cycles is not None
    assert ram.cycles is not None
    assert speed.cycles <= 1.001 * ram.cycles
    assert ram.arena_bytes <= speed.arena_bytes
    assert ram.arena_bytes <= _arena(graph, "ram")


@needs_arm
def test_a_damaged_cache_is_counted_again(tmp_path: Path) -> None:
    counts, graph = tmp_path / "counts.json", small_net(np.random.default_rng(3), grn=False)
    counts.write_text("{ half a fi")
    assert tune(graph, CORTEX_M4, "double", cache=counts).costs["balanced"].instructions > 1e4


def test_the_host_has_no_counter(graph: Graph) -> None:
    with pytest.raises(FirmwareError, match="no instruction counter"):
        tune(graph, HOST, "double")
