"""Outputs that overlap their inputs: only as far as their calls allow, and no other tensor."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware_harness.random_graphs import cp_mobile
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.runtime.plan import ALIGNMENT, Lead, Lifetime, place


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_chain_with_leads(data: st.DataObject) -> None:
    """Each output may overlap the one before it; another tensor of each step may overlap nothing."""
    sizes = data.draw(st.lists(st.integers(1, 4000), min_size=2, max_size=8))
    chain = [Lifetime(f"t{i}", n, i, i + 1) for i, n in enumerate(sizes)]
    bystanders = [Lifetime(f"s{i}", data.draw(st.integers(1, 500)), i, i) for i in range(1, len(sizes))]
    leads = {
        (f"t{i}", f"t{i - 1}"): Lead(data.draw(st.integers(-1000, 2000)), data.draw(st.booleans()))
        for i in range(1, len(sizes))
        if data.draw(st.booleans())
    }
    alive = (*chain, *bystanders)
    plan = place(alive, leads)
    assert plan.arena_bytes <= place(alive).arena_bytes
    for a in alive:
        assert plan.offsets[a.name] % ALIGNMENT == 0
        assert plan.offsets[a.name] + a.n_bytes <= plan.arena_bytes
        for b in alive:
            if a.name != b.name and a.first <= b.last and b.first <= a.last:
                assert _apart(plan.offsets, a, b) or _led(plan.offsets, leads, a, b) or _led(plan.offsets, leads, b, a)


def _apart(offsets: dict[str, int], a: Lifetime, b: Lifetime) -> bool:
    return offsets[a.name] + a.n_bytes <= offsets[b.name] or offsets[b.name] + b.n_bytes <= offsets[a.name]


def _led(offsets: dict[str, int], leads: dict[tuple[str, str], Lead], output: Lifetime, source: Lifetime) -> bool:
    lead = leads.get((output.name, source.name))
    if lead is None:
        return False
    ahead = offsets[source.name] - offsets[output.name]
    return ahead >= lead.lead_bytes or (lead.in_place and ahead == 0)


def test_ram_needs_less_memory_than_speed() -> None:
    """`ram` stays below 45 KiB, and keeps widened weights where they need no further memory."""
    graph = cp_mobile(np.random.default_rng(40), "dcase25")
    ram, speed = (emit(graph, kernel_set_named("dsp"), optimise) for optimise in ("ram", "speed"))
    assert ram.plan.arena_bytes <= 45 << 10 < speed.plan.arena_bytes
    kept = [call.layer.fields["pointwise"]["kept"] for call in ram.calls if "pointwise" in call.layer.fields]  # type: ignore[index]
    assert kept == [1, 1, 1]
    blocks = [call.layer.fields for call in ram.calls if call.layer.kernel == "ts_dsp_block"]
    assert [(block["expand"]["kept"], block["project"]["kept"]) for block in blocks[:3]] == [(0, 0)] * 3  # type: ignore[index]
