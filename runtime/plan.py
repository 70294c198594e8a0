"""Tensor lifetimes to arena offsets: how much RAM an image needs, and where each activation lives in it.

Activations only; constants stay in flash. Each order of placement is a greedy first fit; the smallest arena wins.
Source of the greedy form: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

from .graph import Graph

ALIGNMENT = 16  # bytes; what a Helium vector load or a cache line half likes


@dataclass(frozen=True)
class Lifetime:
    """One activation: written at step ``first``, last read at step ``last`` (step 0 is the input)."""

    name: str
    n_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """Byte offset of each activation in one arena."""

    offsets: dict[str, int]
    arena_bytes: int
    lifetimes: tuple[Lifetime, ...]

    @property
    def floor_bytes(self) -> int:
        """The largest sum of activations alive at once: no plan without recomputation is smaller."""
        return max(self.live_bytes())

    def live_bytes(self) -> list[int]:
        """Bytes alive at each step."""
        steps = 1 + max(t.last for t in self.lifetimes)
        return [sum(t.n_bytes for t in self.lifetimes if t.first <= step <= t.last) for step in range(steps)]


def lifetimes(graph: Graph) -> tuple[Lifetime, ...]:
    """First write and last read of each activation; the graph's output stays alive to the end."""
    first = {graph.input: 0}
    last = {graph.input: 0}
    for step, node in enumerate(graph.nodes, start=1):
        first[node.output] = last[node.output] = step
        for name in node.inputs:
            if name in last:
                last[name] = step
    last[graph.output] = len(graph.nodes)
    return tuple(Lifetime(t.name, t.n_bytes, first[t.name], last[t.name]) for t in graph.activations())


def plan(graph: Graph) -> Plan:
    """The best of three greedy placements: by size, by start, by length of life times size."""
    alive = lifetimes(graph)
    orders = (
        sorted(alive, key=lambda t: (-t.n_bytes, t.first)),
        sorted(alive, key=lambda t: (t.first, -t.n_bytes)),
        sorted(alive, key=lambda t: (-t.n_bytes * (t.last - t.first + 1), t.first)),
    )
    placed = [_first_fit(order) for order in orders]
    offsets, arena_bytes = min(placed, key=lambda result: result[1])
    return Plan(offsets, arena_bytes, alive)


def _first_fit(order: list[Lifetime]) -> tuple[dict[str, int], int]:
    offsets: dict[str, int] = {}
    done: list[Lifetime] = []
    for tensor in order:
        neighbours = sorted(
            (offsets[t.name], offsets[t.name] + t.n_bytes)
            for t in done
            if t.first <= tensor.last and tensor.first <= t.last
        )
        at = 0
        for begin, end in neighbours:
            if at + tensor.n_bytes <= begin:
                break
            at = max(at, _aligned(end))
        offsets[tensor.name] = at
        done.append(tensor)
    return offsets, max(_aligned(offsets[t.name] + t.n_bytes) for t in order)


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
