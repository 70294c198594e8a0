"""A graph as the kernel calls that run it on one kind of CPU, and the arena they need.

`layers` runs node by node, so that every activation can be compared. `speed` and `ram` run several nodes in one call
where the CPU has such a kernel; of two variants of a call, `speed` takes the faster and `ram` the smaller one. Only the
portable kernels run a node whose sums can leave int32: they wrap around there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Literal

from tinyscene.runtime import ops
from tinyscene.runtime.accumulators import wraps_around
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.plan import Lead, Lifetime, Plan, place

from .ceiling import bounded
from .kernel_set import Fused, KernelSet
from .layers import layer_of
from .records import Layer

Optimise = Literal["layers", "speed", "ram"]
Mode = Literal["layers", "speed", "ram", "balanced"]  # balanced: see tune.py
SHIPPED: Optimise = "ram"  # of what is flashed: the arena must fit; 19 to 23 % more cycles on the largest networks, M4


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


Calls = tuple[Call, ...]


def schedule(graph: Graph, kernels: KernelSet, optimise: Optimise) -> tuple[Call, ...]:
    """Return the calls in the order of the graph's nodes.

    Raises:
        FirmwareError: an op without a kernel.
    """
    return _leanest(graph, kernels) if optimise == "ram" else tuple(_calls(graph, kernels, optimise))


def segments(graph: Graph, kernels: KernelSet) -> tuple[tuple[Calls, ...], ...]:
    """Cut the graph wherever a call ends in both `speed` and `ram`; return every variant of each segment.

    They are in the order of `speed`, `ram` and `layers`, but for those of the mode that needs the least memory, which
    are the last. That is not always `ram`: a call may need more scratch memory than the activations that it saves.

    Raises:
        FirmwareError: an op without a kernel.
    """
    all_variants = []
    for groups, least in _segments(graph, kernels):
        others = [group for group in _distinct(groups) if group is not least]
        all_variants.append(tuple(chain(*others, least)))
    return tuple(all_variants)


def _segments(graph: Graph, kernels: KernelSet) -> Iterator[tuple[list[list[Calls]], list[Calls]]]:
    """The variants of each segment as `speed`, `ram` and `layers` have them, which may be equal, and those of the three
    that need the least, the first of equal ones."""
    modes = [tuple(_calls(graph, kernels, mode)) for mode in ("speed", "ram", "layers")]
    ends = sorted({call.nodes.stop for call in modes[0]} & {call.nodes.stop for call in modes[1]})
    cut = [
        [tuple(call for call in calls if start <= call.nodes.start < stop) for calls in modes]
        for start, stop in zip((0, *ends), ends, strict=False)
    ]
    for index, inside in enumerate(cut):
        groups = [list(product(*map(_variants, calls))) for calls in inside]
        least, *others = _distinct(groups)
        if others:
            before, after = (tuple(chain(*(each[0] for each in part))) for part in (cut[:index], cut[index + 1 :]))
            needs = [_needed_bytes(graph, before, group[-1], after) for group in (least, *others)]
            least = (least, *others)[needs.index(min(needs))]
        yield groups, least


def _distinct(groups: list[list[Calls]]) -> list[list[Calls]]:
    """Without those that have the kernels of an earlier one."""
    kinds = {tuple(call.layer.kernel for call in group[0]): group for group in reversed(groups)}
    return [group for group in groups if any(group is kind for kind in kinds.values())]


def _needed_bytes(graph: Graph, before: Calls, calls: Calls, after: Calls) -> int:
    """The arena of what is alive while ``calls`` run."""
    alive, leads, _ = _lifetimes(graph, (*before, *calls, *after))
    first, last = len(before) + 1, len(before) + len(calls)
    inside = [replace(t, first=max(t.first, first), last=min(t.last, last)) for t in alive]
    return place(tuple(t for t in inside if t.first <= t.last), leads).arena_bytes


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
        inputs = tuple(t.name for t in graph.ins(node)[: ops.OPS[type(node.op)].n_activations])[: layer.n_inputs]
        both = None if optimise == "layers" else bounded(graph, at, layer)
        alone = Fused(1, inputs, node.output, layer)
        fused = alone if both is None else Fused(2, inputs, graph.nodes[at + 1].output, both)
        chosen = fused if _can_be_one(graph, at, fused) else alone
        yield Call(range(at, at + chosen.count), inputs, chosen.output, chosen.layer)
        at += chosen.count


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


def plan_calls(graph: Graph, calls: Calls) -> Plan:
    """Place every activation that exists between calls, and each call's scratch memory, in the arena.

    An output overlaps its call's first input where the kernel supports it, no later call reads the input, and it is
    no output of the graph. A state is kept in its input, where it is also written if nothing reads it after that.
    """
    alive, leads, in_place = _lifetimes(graph, calls)
    placed = place(alive, leads)
    return replace(placed, offsets=placed.offsets | {name: placed.offsets[at] for name, at in in_place.items()})


def _lifetimes(graph: Graph, calls: Calls) -> tuple[tuple[Lifetime, ...], dict[tuple[str, str], Lead], dict[str, str]]:
    """What has a place of its own in the arena, which may overlap, and which state is written into which input."""
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
    return (*(t for t in tensors if t.name not in in_place), *scratch), leads, in_place


def _leanest(graph: Graph, kernels: KernelSet) -> Calls:
    """The fastest variant of each segment that fits into the smallest possible arena."""
    found = list(_segments(graph, kernels))
    chosen = [least[-1] for _, least in found]
    arena_bytes = plan_calls(graph, tuple(chain(*chosen))).arena_bytes
    for index, (groups, least) in enumerate(found):
        fast, lean, _ = groups  # the calls of `layers` only where they need the least: they are slower
        for variant in chain(fast, lean, least):
            if variant is chosen[index]:  # the least, which fits
                break
            candidate = (*chosen[:index], variant, *chosen[index + 1 :])
            if plan_calls(graph, tuple(chain(*candidate))).arena_bytes <= arena_bytes:
                chosen[index] = variant
                break
    return tuple(chain(*chosen))
