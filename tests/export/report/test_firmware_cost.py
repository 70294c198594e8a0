"""What firmware costs: every way measured, every call counted, and a missing tool left out by name."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import random_input, small_net
from tinyscene.export.report.firmware_cost import firmware_cost
from tinyscene.firmware_harness.build.targets import CORTEX_M4


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_every_way_is_measured_and_every_call_counted() -> None:
    rng = np.random.default_rng(0)
    graph = small_net(rng, grn=True)
    cost = firmware_cost(graph, random_input(rng, graph, 1), (CORTEX_M4,))
    ways = {way.optimise: way.figures for way in cost.ways}
    assert list(ways) == ["layers", "speed", "ram"]
    assert cost.left_out == {}
    (profile,) = cost.profiles
    assert profile.instructions == pytest.approx(ways["speed"].instructions, rel=0.02)
    assert ways["ram"].arena_bytes <= ways["speed"].arena_bytes <= ways["layers"].arena_bytes
    assert all(way.modelled.board == profile.board == "nucleo-l4r5zi" for way in cost.ways)
    cycles = sum(call.cycles for call in profile.calls)
    assert cycles == pytest.approx(cost.ways[1].modelled.cycles.value, rel=0.1)
    steps = [step for call in profile.calls for step in range(call.first, call.last + 1)]
    assert steps == list(range(1, len(graph.nodes) + 1))


def test_a_missing_compiler_leaves_the_machine_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    graph = small_net(rng, grn=False)
    monkeypatch.setenv("PATH", "")
    cost = firmware_cost(graph, random_input(rng, graph, 1), (CORTEX_M4,))
    assert (cost.ways, cost.profiles) == ((), ())
    assert "apt-get install" in cost.left_out["cortex-m4"]
