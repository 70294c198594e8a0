"""Arena planning: byte offsets of the activations from their lifetimes.

Activations only; constants stay in flash. Several orders are placed by greedy first fit; the smallest arena is used.
Source of the greedy form: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .graph import Graph

ALIGNMENT = 16  # bytes: a Helium vector, half a cache line


@dataclass(frozen=True)
class Lifetime:
    """One activation: written at step ``first``, last read at step ``last`` (step 0 writes the inputs)."""

    name: str
    n_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Lead:
    """How far an op that works row by row may write its output over an input that no later op reads.

    The output starts at least ``lead_bytes`` before the input (or after it, for a negative number), or, with
    ``in_place``, at the same offset.
    """

    lead_bytes: int
    in_place: bool = False

    def permits(self, output_offset: int, input_offset: int) -> bool:
        """Whether the output may start at this offset."""
        return output_offset + self.lead_bytes <= input_offset or (self.in_place and output_offset == input_offset)


Leads = Mapping[tuple[str, str], Lead]  # by the names of output and input


@dataclass(frozen=True)
class Plan:
    """Byte offset of each activation in one arena."""

    offsets: dict[str, int]
    arena_bytes: int
    lifetimes: tuple[Lifetime, ...]

    @property
    def floor_bytes(self) -> int:
        """The largest sum of activations alive at once, a lower bound for plans without recomputation and overlap."""
        return max(self.live_bytes())

    def live_bytes(self) -> list[int]:
        """Bytes alive at each step."""
        steps = 1 + max(t.last for t in self.lifetimes)
        return [sum(t.n_bytes for t in self.lifetimes if t.first <= step <= t.last) for step in range(steps)]


def lifetimes(graph: Graph) -> tuple[Lifetime, ...]:
    """First write and last read of each activation; outputs and states stay alive to the end."""
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    for step, node in enumerate(graph.nodes, start=1):
        first[node.output] = last[node.output] = step
        for name in node.inputs:
            if name in last:
                last[name] = step
    last |= dict.fromkeys((*graph.outputs, *(state.input for state in graph.states)), len(graph.nodes))
    return tuple(Lifetime(t.name, t.n_bytes, first[t.name], last[t.name]) for t in graph.activations())


def plan(graph: Graph) -> Plan:
    """One arena for a graph that runs node by node."""
    return place(lifetimes(graph))


def place(alive: tuple[Lifetime, ...], leads: Leads | None = None) -> Plan:
    """The smallest of several greedy placements: by size, by start, by lifetime times size, from the end, and with
    activations of a single step last.

    ``leads``: pairs whose output may overlap the input.
    """
    orders = (
        sorted(alive, key=lambda t: (-t.n_bytes, t.first)),
        sorted(alive, key=lambda t: (t.first, -t.n_bytes)),
        sorted(alive, key=lambda t: (-t.n_bytes * (t.last - t.first + 1), t.first)),
        sorted(alive, key=lambda t: (-t.n_bytes, -t.first)),
        sorted(alive, key=lambda t: (-t.last, -t.n_bytes)),
        sorted(alive, key=lambda t: (t.first == t.last, -t.n_bytes, t.first)),
    )
    ways = [_Way(leads or {}, downward, overlap) for overlap in (False, True) for downward in (True, False)]
    placed = [_first_fit(order, way) for way in (*ways, _Way({})) for order in orders]
    offsets, arena_bytes = min(placed, key=lambda result: result[1])
    return Plan(offsets, arena_bytes, alive)


@dataclass(frozen=True)
class _Way:
    """How one activation after the other is placed, where the arena grows least.

    ``downward``: also at offsets before the first one placed. ``overlap``: of equal places over its input or output
    rather than beside it, which leaves room for scratch memory.
    """

    leads: Leads
    downward: bool = False
    overlap: bool = False


def _first_fit(order: list[Lifetime], way: _Way) -> tuple[dict[str, int], int]:
    """Offsets by name, and the bytes of the arena."""
    leads = way.leads
    offsets: dict[str, int] = {}
    done: list[Lifetime] = []
    begin = end = 0
    for tensor in order:
        neighbours = [t for t in done if t.first <= tensor.last and tensor.first <= t.last]
        places, shared = {0, *(_aligned(offsets[t.name] + t.n_bytes) for t in neighbours)}, set()
        for t in neighbours:
            if (tensor.name, t.name) in leads:
                latest = offsets[t.name] - leads[tensor.name, t.name].lead_bytes
                shared |= {latest // ALIGNMENT * ALIGNMENT, offsets[t.name]}
            if (t.name, tensor.name) in leads:
                earliest = offsets[t.name] + leads[t.name, tensor.name].lead_bytes
                shared |= {_aligned(earliest), offsets[t.name]}
        free = [
            at
            for at in places | shared
            if (at >= 0 or way.downward) and all(_compatible(tensor, at, t, offsets[t.name], leads) for t in neighbours)
        ]
        beside = places - shared if way.overlap else set()
        at = min(free, key=lambda at: (max(end, at + tensor.n_bytes) - min(begin, at), at in beside, at))
        offsets[tensor.name] = at
        begin, end = min(begin, at), max(end, at + tensor.n_bytes)
        done.append(tensor)
    return {name: at - begin for name, at in offsets.items()}, _aligned(end - begin)


def _compatible(a: Lifetime, a_offset: int, b: Lifetime, b_offset: int, leads: Leads) -> bool:
    """Whether two tensors that are alive at the same time may have these offsets."""
    if a_offset + a.n_bytes <= b_offset or b_offset + b.n_bytes <= a_offset:
        return True
    if (a.name, b.name) in leads:
        return leads[a.name, b.name].permits(a_offset, b_offset)
    return (b.name, a.name) in leads and leads[b.name, a.name].permits(b_offset, a_offset)


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
