"""Choose between the ways a graph can be run by counting their instructions in the emulator.

A call may have leaner twins that need less memory and more time (:attr:`Layer.leaner`), and so may several calls in a
row (:func:`tinyscene.firmware_harness.emit.schedule.stretches`). Each call is counted once and remembered by its shape,
so that another model with the same layers is tuned for nothing. ``balanced`` is the smallest arena whose inference
takes at most 5 % more instructions than the fastest. Refuses targets without a counter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cache import cache_folder
from tinyscene.runtime.files import write_file
from tinyscene.runtime.graph import Graph

from ..build.targets import Target
from ..build.tools import compiler_version
from ..cpu import kernel_set
from ..emit.kernel_set import KernelSet
from ..emit.records import ByRule, Fields, Layer, Values
from ..emit.schedule import Call, Mode, plan_calls, schedule, stretches
from ..errors import FirmwareError
from .engine import FirmwareEngine

SLACK = 0.05  # of the fastest, what `balanced` may spend for memory


@dataclass(frozen=True)
class Cost:
    """Of a whole inference; the few instructions between calls are not counted."""

    instructions: int
    arena_bytes: int


@dataclass(frozen=True, eq=False)
class Way:
    """One way to run one stretch: its instructions, and the arena of the whole with all other stretches leanest."""

    calls: tuple[Call, ...]
    instructions: int
    arena_bytes: int


Ways = tuple[tuple[Way, ...], ...]  # of each stretch, the leanest last


@dataclass(frozen=True, eq=False)
class Tuned:
    """What was counted: ``ways`` of every stretch, the places of the ``chosen`` ones, and what each mode costs."""

    ways: Ways
    chosen: tuple[int, ...]
    costs: Mapping[Mode, Cost]

    @property
    def calls(self) -> tuple[Call, ...]:
        """To emit."""
        return _calls(self.ways, self.chosen)


def chosen_calls(
    graph: Graph, target: Target, rounding: Rounding, optimise: Mode
) -> tuple[tuple[Call, ...], Tuned | None]:
    """The calls of a mode, and for ``balanced`` what was counted to choose them.

    Raises:
        FirmwareError: see :func:`tune`; an op without a kernel.
    """
    if optimise == "balanced":
        tuned = tune(graph, target, rounding)
        return tuned.calls, tuned
    return schedule(graph, kernel_set(target.cpu), optimise), None


def tune(graph: Graph, target: Target, rounding: Rounding, *, slack: float = SLACK, cache: Path | None = None) -> Tuned:
    """The smallest arena within ``slack`` of the fastest, by measured instructions.

    Args:
        cache: file of remembered counts; by default in the user's cache.

    Raises:
        FirmwareError: the target cannot count, or a tool is missing.
    """
    if target.emulator is None:
        raise FirmwareError(f"tuning for {target.name}", "no counter", next_step="choose an emulated --target")
    kernels = kernel_set(target.cpu)
    memory = _Memory(cache or cache_folder() / "instructions.json", target, rounding)
    options = stretches(graph, kernels)
    _count(graph, target, rounding, options, memory)
    ways = _ways(graph, options, memory)
    fastest = tuple(_by_speed(w)[0] for w in ways)
    limit = (1.0 + slack) * _total(ways, fastest)
    best = fastest
    for arena_bytes in sorted({way.arena_bytes for way in chain(*ways)}):
        chosen = _within(graph, ways, arena_bytes)
        if chosen is not None and _total(ways, chosen) <= limit:
            best = chosen
            break
    modes: dict[Mode, tuple[Call, ...]] = {"speed": schedule(graph, kernels, "speed")}
    modes |= {"ram": schedule(graph, kernels, "ram"), "balanced": _calls(ways, best)}
    costs = {mode: Cost(memory.total(calls), plan_calls(graph, calls).arena_bytes) for mode, calls in modes.items()}
    return Tuned(ways, best, costs)


def _by_speed(ways: tuple[Way, ...]) -> list[int]:
    """Places of the ways, the fastest first."""
    return sorted(range(len(ways)), key=lambda index: ways[index].instructions)


def _total(ways: Ways, chosen: tuple[int, ...]) -> int:
    return sum(w[index].instructions for w, index in zip(ways, chosen, strict=True))


def _calls(ways: Ways, chosen: tuple[int, ...]) -> tuple[Call, ...]:
    return tuple(chain(*(w[index].calls for w, index in zip(ways, chosen, strict=True))))


def _ways(graph: Graph, options: tuple[tuple[tuple[Call, ...], ...], ...], memory: _Memory) -> Ways:
    """Every option with its count and the arena it asks for."""
    leanest = [option[-1] for option in options]

    def arena_bytes(index: int, calls: tuple[Call, ...]) -> int:
        return plan_calls(graph, tuple(chain(*leanest[:index], calls, *leanest[index + 1 :]))).arena_bytes

    return tuple(
        tuple(Way(calls, memory.total(calls), arena_bytes(index, calls)) for calls in option)
        for index, option in enumerate(options)
    )


def _within(graph: Graph, ways: Ways, arena_bytes: int) -> tuple[int, ...] | None:
    """The fastest way of each stretch that keeps the arena within ``arena_bytes``, one stretch after the other."""
    chosen = [len(w) - 1 for w in ways]
    if plan_calls(graph, _calls(ways, tuple(chosen))).arena_bytes > arena_bytes:
        return None
    for index, w in enumerate(ways):
        for faster in _by_speed(w):
            if faster == chosen[index]:  # the leanest, which fits
                break
            trial = (*chosen[:index], faster, *chosen[index + 1 :])
            if plan_calls(graph, _calls(ways, trial)).arena_bytes <= arena_bytes:
                chosen[index] = faster
                break
    return tuple(chosen)


def _count(
    graph: Graph,
    target: Target,
    rounding: Rounding,
    options: tuple[tuple[tuple[Call, ...], ...], ...],
    memory: _Memory,
) -> None:
    """Learn every call; one run of the emulator counts one way of each stretch that is not known yet."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, (1, *graph.tensors[graph.input].shape[1:])).astype(np.int8)
    for turn in range(max(map(len, options), default=0)):
        calls = tuple(chain(*(option[min(turn, len(option) - 1)] for option in options)))
        if all(memory.knows(call.layer) for call in calls):
            continue
        counts = FirmwareEngine(graph, target, rounding, calls=calls).profile(codes)
        for call, count in zip(calls, counts, strict=True):
            memory.learn(call.layer, count)
    memory.save()


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

    def total(self, calls: tuple[Call, ...]) -> int:
        return sum(self._counts[self._key(call.layer)] for call in calls)

    def learn(self, layer: Layer, count: int) -> None:
        self._counts[self._key(layer)] = count

    def save(self) -> None:
        write_file(self._path, json.dumps(self._counts, indent=0, sort_keys=True).encode())

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
