"""Choosing by counted instructions: never slower than allowed, never larger than needed, and remembered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from firmware_harness import tune as module
from firmware_harness.engine import FirmwareEngine
from firmware_harness.errors import FirmwareError
from firmware_harness.kernel_sets import kernel_set
from firmware_harness.schedule import plan_calls, schedule
from firmware_harness.targets import CORTEX_M4, HOST
from firmware_harness.tune import tune
from runtime.graph import Graph
from runtime.interpreter import run
from tests.firmware.random_graphs import cp_mobile
from tests.graphs import random_input

pytestmark = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return cp_mobile(np.random.default_rng(1), "dcase25")


def _arena(graph: Graph, optimise: str) -> int:
    return plan_calls(graph, schedule(graph, kernel_set("dsp"), optimise)).arena_bytes  # type: ignore[arg-type]


def test_balanced_lies_between_speed_and_ram(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tmp_path / "counts.json"
    tuned = tune(graph, CORTEX_M4, "double", cache=counts)
    fastest = sum(min(way.instructions for way in ways) for ways in tuned.ways)
    assert fastest <= tuned.instructions <= 1.05 * fastest
    assert _arena(graph, "ram") <= tuned.arena_bytes <= _arena(graph, "speed")
    x = random_input(np.random.default_rng(2), graph)
    engine = FirmwareEngine(graph, CORTEX_M4, "double", calls=tuned.calls)
    assert np.array_equal(engine.output_codes(x), run(graph, x))
    measured = engine.measure(x).instructions
    assert measured is not None
    assert abs(measured - tuned.instructions) < 0.02 * measured
    assert len(json.loads(counts.read_text())) >= len({way.layer.kernel for ways in tuned.ways for way in ways})

    monkeypatch.setattr(module, "FirmwareEngine", None)  # all is remembered: the emulator is not asked again
    again = tune(graph, CORTEX_M4, "double", cache=counts)
    assert again.chosen == tuned.chosen


def test_without_slack_it_is_the_fastest_and_with_all_slack_the_leanest(graph: Graph, tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    fast = tune(graph, CORTEX_M4, "double", slack=0.0, cache=counts)
    lean = tune(graph, CORTEX_M4, "double", slack=10.0, cache=counts)
    assert fast.instructions == sum(min(way.instructions for way in ways) for ways in fast.ways)
    assert lean.arena_bytes == min(_arena(graph, "ram"), lean.arena_bytes)
    assert lean.arena_bytes <= fast.arena_bytes
    assert lean.instructions >= fast.instructions


def test_a_damaged_memory_is_counted_again(graph: Graph, tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    counts.write_text("{ half a fi")
    assert tune(graph, CORTEX_M4, "double", cache=counts).instructions > 1e6


def test_this_machine_does_not_count(graph: Graph) -> None:
    with pytest.raises(FirmwareError, match="no counter"):
        tune(graph, HOST, "double")
