"""Choose between the ways a call can be run by counting their instructions in the emulator.

A call of the schedule may have leaner twins that need less memory and more time (:attr:`Layer.leaner`). Each way of
each call is counted once and remembered by its shape, so that another model with the same layers is tuned for nothing.
``balanced`` is the smallest arena whose inference takes at most 5 % more instructions than the fastest.
Refuses targets without a counter.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime.arith import Rounding
from runtime.cache import cache_folder
from runtime.graph import Graph

from .engine import FirmwareEngine
from .errors import FirmwareError
from .kernel_sets import KernelSet, kernel_set
from .records import ByRule, Fields, Layer, Values
from .schedule import Call, plan_calls, schedule
from .targets import Target
from .tools import compiler_version

SLACK = 0.05  # of the fastest, what `balanced` may spend for memory


@dataclass(frozen=True, eq=False)
class Way:
    """One way to run one call, and what it costs."""

    layer: Layer
    instructions: int


@dataclass(frozen=True, eq=False)
class Tuned:
    """Calls to emit; ``ways`` has every way of each, in their order, ``chosen`` the place of the chosen one."""

    calls: tuple[Call, ...]
    ways: tuple[tuple[Way, ...], ...]
    chosen: tuple[int, ...]
    arena_bytes: int

    @property
    def instructions(self) -> int:
        """Of one inference, without the few between calls."""
        return sum(ways[index].instructions for ways, index in zip(self.ways, self.chosen, strict=True))


def tune(graph: Graph, target: Target, rounding: Rounding, *, slack: float = SLACK, cache: Path | None = None) -> Tuned:
    """The smallest arena within ``slack`` of the fastest, by measured instructions.

    Args:
        cache: file of remembered counts; by default in the user's cache.

    Raises:
        FirmwareError: the target cannot count, or a tool is missing.
    """
    if target.emulator is None:
        raise FirmwareError(f"tuning for {target.name}", "no counter", next_step="choose an emulated --target")
    calls = schedule(graph, kernel_set(target.cpu), "speed")
    memory = _Memory(cache or cache_folder() / "instructions.json", target, rounding)
    ways = _counted(graph, target, rounding, calls, memory)
    fastest = tuple(_by_speed(w)[0] for w in ways)
    limit = (1.0 + slack) * _total(ways, fastest)
    best = fastest
    for arena_bytes in _arenas(graph, calls, ways):
        chosen = _within(graph, calls, ways, arena_bytes)
        if chosen is not None and _total(ways, chosen) <= limit:
            best = chosen
            break
    placed = _with(calls, ways, best)
    return Tuned(placed, ways, best, plan_calls(graph, placed).arena_bytes)


Ways = tuple[tuple[Way, ...], ...]


def _by_speed(ways: tuple[Way, ...]) -> list[int]:
    """Places of the ways, the fastest first."""
    return sorted(range(len(ways)), key=lambda index: ways[index].instructions)


def _total(ways: Ways, chosen: tuple[int, ...]) -> int:
    return sum(w[index].instructions for w, index in zip(ways, chosen, strict=True))


def _with(calls: tuple[Call, ...], ways: Ways, chosen: tuple[int, ...]) -> tuple[Call, ...]:
    return tuple(replace(call, layer=w[index].layer) for call, w, index in zip(calls, ways, chosen, strict=True))


def _arenas(graph: Graph, calls: tuple[Call, ...], ways: Ways) -> list[int]:
    """Arena sizes worth trying, the smallest first: one call is run in one of its ways, the others in their leanest."""
    leanest = tuple(len(w) - 1 for w in ways)
    trials = [leanest]
    for index, w in enumerate(ways):
        trials += [(*leanest[:index], other, *leanest[index + 1 :]) for other in range(len(w) - 1)]
    return sorted({plan_calls(graph, _with(calls, ways, trial)).arena_bytes for trial in trials})


def _within(graph: Graph, calls: tuple[Call, ...], ways: Ways, arena_bytes: int) -> tuple[int, ...] | None:
    """The fastest way of each call that keeps the arena within ``arena_bytes``, one call after the other."""
    chosen = [len(w) - 1 for w in ways]
    if plan_calls(graph, _with(calls, ways, tuple(chosen))).arena_bytes > arena_bytes:
        return None
    for index, w in enumerate(ways):
        for faster in _by_speed(w):
            trial = (*chosen[:index], faster, *chosen[index + 1 :])
            if plan_calls(graph, _with(calls, ways, trial)).arena_bytes <= arena_bytes:
                chosen[index] = faster
                break
    return tuple(chosen)


def _counted(graph: Graph, target: Target, rounding: Rounding, calls: tuple[Call, ...], memory: _Memory) -> Ways:
    """Every way of every call with its count; one run of the emulator counts one way of each that is not known yet."""
    options = [(call.layer, *call.layer.leaner) for call in calls]
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, (1, *graph.tensors[graph.input].shape[1:])).astype(np.int8)
    for turn in range(max(map(len, options))):
        layers = [o[min(turn, len(o) - 1)] for o in options]
        if all(memory.knows(layer) for layer in layers):
            continue
        placed = tuple(replace(call, layer=layer) for call, layer in zip(calls, layers, strict=True))
        counts = FirmwareEngine(graph, target, rounding, calls=placed).profile(codes)
        for layer, count in zip(layers, counts, strict=True):
            memory.learn(layer, count)
    memory.save()
    return tuple(tuple(Way(layer, memory.count(layer)) for layer in o) for o in options)


class _Memory:
    """Counts by shape: kernel, fields and sizes of the constants, for one compiler, target, rule and set of kernels."""

    def __init__(self, path: Path, target: Target, rounding: Rounding) -> None:
        self._path = path
        kernels: KernelSet = kernel_set(target.cpu)
        sources = "".join(source.read_text() for source in kernels.sources())
        words = (target.name, rounding, repr(target.compile_flags), compiler_version(target), sources)
        self._machine = hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
        try:
            self._counts: dict[str, int] = json.loads(path.read_text())
        except (OSError, ValueError):  # none yet, or cut short: count again
            self._counts = {}

    def knows(self, layer: Layer) -> bool:
        return self._key(layer) in self._counts

    def count(self, layer: Layer) -> int:
        return self._counts[self._key(layer)]

    def learn(self, layer: Layer, count: int) -> None:
        self._counts[self._key(layer)] = count

    def save(self) -> None:
        """Written beside and renamed, so that a reader never meets half a file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(self._counts, indent=0, sort_keys=True))
        unfinished.replace(self._path)

    def _key(self, layer: Layer) -> str:
        shape = f"{layer.kernel} {layer.scratch_bytes} {sorted(_shape(layer.fields).items())}"
        return f"{self._machine} {hashlib.sha256(shape.encode()).hexdigest()[:24]}"


def _shape(fields: Fields) -> Mapping[str, object]:
    """Fields that decide how often a loop turns; of constants only their number, of scales and zero points nothing."""
    found: dict[str, object] = {}
    for name, value in fields.items():
        if isinstance(value, Values):
            found[name] = len(value.values)
        elif isinstance(value, dict):
            found[name] = sorted(_shape(value).items())
        elif isinstance(value, ByRule):
            found[name] = (sorted(_shape(value.double).items()), sorted(_shape(value.single).items()))
        elif isinstance(value, int) and "zero_point" not in name and name not in ("low", "high", "multiplier", "shift"):
            found[name] = value
    return found
