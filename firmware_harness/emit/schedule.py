"""A graph as the kernel calls that run it on one kind of CPU, and the arena they need.

`layers` runs node by node, so that every activation can be compared. `speed` and `ram` run several nodes in one call
where the CPU has such a kernel; of two variants of a call, `speed` takes the faster and `ram` the smaller one. Only the
portable kernels run a node whose sums can leave int32: they wrap around there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from tinyscene.runtime import ops
from tinyscene.runtime.accumulators import wraps_around
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.plan import Lifetime, Plan, place

from .kernel_set import Fused, KernelSet
from .layers import layer_of
from .records import Layer

Optimise = Literal["layers", "speed", "ram"]
Mode = Literal["layers", "speed", "ram", "balanced"]  # balanced: see tune.py
SHIPPED: Optimise = "ram"  # of what is flashed: an arena that does not fit helps nobody, and it costs at most a tenth


@dataclass(frozen=True, eq=False)
class Call:
    """One kernel call. ``nodes``: indices in the graph of the nodes it runs."""

    nodes: range
    inputs: tuple[str, ...]
    output: str
    layer: Layer

    @property
    def scratch(self) -> str:
        """Name of its scratch memory in the arena plan."""
        return f"scratch of call {self.nodes.start}"


def schedule(graph: Graph, kernels: KernelSet, optimise: Optimise) -> tuple[Call, ...]:
    """Return the calls in the order of the graph's nodes.

    Raises:
        FirmwareError: an op without a kernel.
    """
    calls = tuple(_calls(graph, kernels, optimise))
    return _leanest(graph, calls) if optimise == "ram" else calls


def segments(graph: Graph, kernels: KernelSet) -> tuple[tuple[tuple[Call, ...], ...], ...]:
    """Cut the graph wherever a call ends in both `speed` and `ram`; return every variant of each segment.

    The variant of `layers` comes first, where it differs; then those of `speed`; the last needs the least memory.

    Raises:
        FirmwareError: an op without a kernel.
    """
    fast, plain, lean = (tuple(_calls(graph, kernels, mode)) for mode in ("speed", "layers", "ram"))
    ends = sorted({call.nodes.stop for call in fast} & {call.nodes.stop for call in lean})
    all_variants = []
    for start, stop in zip((0, *ends), ends, strict=False):
        inside = [[call for call in calls if start <= call.nodes.start < stop] for calls in (fast, plain, lean)]
        names = [[call.layer.kernel for call in calls] for calls in inside]
        fastest = product(*map(_variants, inside[0]))
        unfused = [tuple(_variants(call)[0] for call in inside[1])] if names[1] not in (names[0], names[2]) else []
        leanest = product(*map(_variants, inside[2])) if names[2] != names[0] else ()
        all_variants.append((*unfused, *fastest, *leanest))
    return tuple(all_variants)


def _variants(call: Call) -> list[Call]:
    """Variants of the call, the one with the least scratch memory last."""
    return [replace(call, layer=replace(layer, leaner=())) for layer in (call.layer, *call.layer.leaner)]


def _calls(graph: Graph, kernels: KernelSet, optimise: Optimise) -> Iterator[Call]:
    at = 0
    while at < len(graph.nodes):
        fused = _fused(graph, at, kernels, optimise)
        if fused is not None:
            yield Call(range(at, at + fused.count), fused.inputs, fused.output, fused.layer)
            at += fused.count
            continue
        node = graph.nodes[at]
        row = None if wraps_around(graph, node) else kernels.rows.get(type(node.op))
        layer = (row(graph, node) if row else None) or layer_of(graph, node)
        inputs = tuple(t.name for t in graph.ins(node)[: ops.OPS[type(node.op)].n_activations])
        yield Call(range(at, at + 1), inputs[: layer.n_inputs], node.output, layer)
        at += 1


def _fused(graph: Graph, at: int, kernels: KernelSet, optimise: Optimise) -> Fused | None:
    """The fused call of the most nodes, among those whose inner activations no other node reads."""
    fusers = {"layers": (), "speed": kernels.fusers, "ram": kernels.fusers + kernels.lean_fusers}[optimise]
    candidates = [f for fuser in fusers if (f := fuser(graph, at)) is not None and _can_be_one(graph, at, f)]
    return max(candidates, key=lambda f: f.count, default=None)


def _can_be_one(graph: Graph, at: int, fused: Fused) -> bool:
    """Whether only the fused nodes read the activations between them, and no sum of theirs leaves int32."""
    inside = graph.nodes[at : at + fused.count]
    if any(wraps_around(graph, node) for node in inside):
        return False
    inner = {node.output for node in inside} - {fused.output}
    outside = [*graph.nodes[:at], *graph.nodes[at + fused.count :]]
    return not inner.intersection(graph.outputs) and not any(inner & set(node.inputs) for node in outside)


def plan_calls(graph: Graph, calls: tuple[Call, ...]) -> Plan:
    """Place every activation that exists between calls, and each call's scratch memory, in the arena.

    An output overlaps its call's first input where the kernel supports it, no later call reads the input, and it is
    no output of the graph. A state is kept in its input, where it is also written if nothing reads it after that.
    """
    first, last = dict.fromkeys(graph.inputs, 0), dict.fromkeys(graph.inputs, 0)
    scratch = []
    for step, call in enumerate(calls, start=1):
        first[call.output] = last[call.output] = step
        for name in call.inputs:
            if name in last:
                last[name] = step
        if call.layer.scratch_bytes:
            scratch.append(Lifetime(call.scratch, call.layer.scratch_bytes, step, step))
    in_place = {state.output: state.input for state in graph.states if last[state.input] < first[state.output]}
    kept = {*graph.outputs, *(state.input for state in graph.states)}
    last |= dict.fromkeys(kept, len(calls))
    tensors = [Lifetime(name, graph.tensors[name].n_bytes, first[name], last[name]) for name in first]
    leads = {
        (call.output, call.inputs[0]): call.layer.lead
        for step, call in enumerate(calls, start=1)
        if call.layer.lead is not None and last.get(call.inputs[0]) == step and not kept & {call.inputs[0]}
    }
    placed = place((*(t for t in tensors if t.name not in in_place), *scratch), leads)
    return replace(placed, offsets=placed.offsets | {name: placed.offsets[at] for name, at in in_place.items()})


def _leanest(graph: Graph, calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """The fastest variant of each call that fits into the smallest possible arena."""
    chosen = [_variants(call)[-1] for call in calls]
    arena_bytes = plan_calls(graph, tuple(chosen)).arena_bytes
    for index, call in enumerate(calls):
        for variant in _variants(call):
            candidate = [*chosen[:index], variant, *chosen[index + 1 :]]
            if plan_calls(graph, tuple(candidate)).arena_bytes <= arena_bytes:
                chosen = candidate
                break
    return tuple(chosen)
