"""Choose between the variants of a graph's calls by counting their instructions in the emulator.

A call may have leaner variants with less memory and more instructions (:attr:`Layer.leaner`), and so may a segment of
several calls (:func:`tinyscene.firmware_harness.emit.schedule.segments`). Counts are cached by the call's shape, so
that another model with the same layers needs no new count. ``balanced`` is the smallest arena whose
inference takes at most 5 % more instructions than the fastest. Refuses targets without a counter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cache import cache_folder
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.files import write_file
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.json_files import read_json
from tinyscene.runtime.records import Range, read_record
from tinyscene.runtime.terminal import notes
from tinyscene.runtime.vectors import row_shape

from ..build.targets import Target
from ..build.tools import compiler_version
from ..cpu.kernel_sets import kernel_set_named
from ..emit.kernel_set import KernelSet
from ..emit.records import ByRule, Fields, Layer, Values
from ..emit.schedule import Call, Mode, plan_calls, schedule, segments
from ..errors import FirmwareError
from .engine import FirmwareEngine

SLACK = 0.05  # share of the fastest's instructions that `balanced` may add to save memory


@dataclass(frozen=True)
class Cost:
    """Cost of a whole inference, without the few instructions between calls."""

    instructions: int
    arena_bytes: int


@dataclass(frozen=True, eq=False)
class Variant:
    """One variant of a segment: its instructions, and the graph's arena when all other segments use their leanest."""

    calls: tuple[Call, ...]
    instructions: int
    arena_bytes: int


Variants = tuple[tuple[Variant, ...], ...]  # of each segment, the leanest last


@dataclass(frozen=True, eq=False)
class Tuned:
    """Counts: the ``variants`` of every segment, the indices of the ``chosen`` ones, and the cost of each mode."""

    variants: Variants
    chosen: tuple[int, ...]
    costs: Mapping[Mode, Cost]

    @property
    def calls(self) -> tuple[Call, ...]:
        """The chosen calls of the whole graph."""
        return _calls(self.variants, self.chosen)


def chosen_calls(
    graph: Graph, target: Target, rounding: Rounding, optimise: Mode
) -> tuple[tuple[Call, ...], Tuned | None]:
    """Return the calls of a mode, and for ``balanced`` the counts that they were chosen by.

    Raises:
        FirmwareError: an op without a kernel; also see :func:`tune`.
    """
    if optimise == "balanced":
        tuned = tune(graph, target, rounding)
        return tuned.calls, tuned
    return schedule(graph, kernel_set_named(target.cpu), optimise), None


def tune(graph: Graph, target: Target, rounding: Rounding, *, slack: float = SLACK, cache: Path | None = None) -> Tuned:
    """Find the smallest arena whose instructions exceed the fastest's by at most ``slack``.

    Args:
        graph: the model.
        target: an emulated machine.
        rounding: rounding rule to compile in.
        slack: as a share of the fastest's instructions.
        cache: file of earlier counts; by default in the user's cache folder.

    Raises:
        FirmwareError: the target has no counter, or a tool is missing.
    """
    if target.emulator is None:
        what = "no instruction counter"
        raise FirmwareError(f"tuning for {target.name}", what, next_step="choose an emulated --target")
    kernels = kernel_set_named(target.cpu)
    counts = _Counts(cache or cache_folder() / "instructions.json", target, rounding)
    options = segments(graph, kernels)
    _count(graph, target, rounding, options, counts)
    variants = _variants(graph, options, counts)
    fastest = tuple(_by_speed(v)[0] for v in variants)
    limit = (1.0 + slack) * _total(variants, fastest)
    best = fastest
    for arena_bytes in sorted({variant.arena_bytes for variant in chain(*variants)}):
        chosen = _within(graph, variants, arena_bytes)
        if chosen is not None and _total(variants, chosen) <= limit:
            best = chosen
            break
    modes: dict[Mode, tuple[Call, ...]] = {"speed": schedule(graph, kernels, "speed")}
    modes |= {"ram": schedule(graph, kernels, "ram"), "balanced": _calls(variants, best)}
    costs = {mode: Cost(counts.total(calls), plan_calls(graph, calls).arena_bytes) for mode, calls in modes.items()}
    return Tuned(variants, best, costs)


def _by_speed(variants: tuple[Variant, ...]) -> list[int]:
    """Indices of the variants, the fastest first."""
    return sorted(range(len(variants)), key=lambda index: variants[index].instructions)


def _total(variants: Variants, chosen: tuple[int, ...]) -> int:
    return sum(v[index].instructions for v, index in zip(variants, chosen, strict=True))


def _calls(variants: Variants, chosen: tuple[int, ...]) -> tuple[Call, ...]:
    return tuple(chain(*(v[index].calls for v, index in zip(variants, chosen, strict=True))))


def _variants(graph: Graph, options: tuple[tuple[tuple[Call, ...], ...], ...], counts: _Counts) -> Variants:
    """Every option with its instructions and its arena."""
    leanest = [option[-1] for option in options]

    def arena_bytes(index: int, calls: tuple[Call, ...]) -> int:
        return plan_calls(graph, tuple(chain(*leanest[:index], calls, *leanest[index + 1 :]))).arena_bytes

    return tuple(
        tuple(Variant(calls, counts.total(calls), arena_bytes(index, calls)) for calls in option)
        for index, option in enumerate(options)
    )


def _within(graph: Graph, variants: Variants, arena_bytes: int) -> tuple[int, ...] | None:
    """The fastest variant of each segment with an arena of at most ``arena_bytes``; None if even the leanest exceed it.

    Greedy: one segment after the other.
    """
    chosen = [len(v) - 1 for v in variants]
    if plan_calls(graph, _calls(variants, tuple(chosen))).arena_bytes > arena_bytes:
        return None
    for index, v in enumerate(variants):
        for faster in _by_speed(v):
            if faster == chosen[index]:  # the leanest, which fits
                break
            trial = (*chosen[:index], faster, *chosen[index + 1 :])
            if plan_calls(graph, _calls(variants, trial)).arena_bytes <= arena_bytes:
                chosen[index] = faster
                break
    return tuple(chosen)


def _count(
    graph: Graph,
    target: Target,
    rounding: Rounding,
    options: tuple[tuple[tuple[Call, ...], ...], ...],
    counts: _Counts,
) -> None:
    """Count every call that has no count; one run of the emulator counts one variant of each segment."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, (1, *row_shape(graph, graph.inputs))).astype(np.int8)
    for index in range(max(map(len, options), default=0)):
        calls = tuple(chain(*(option[min(index, len(option) - 1)] for option in options)))
        if all(call.layer in counts for call in calls):
            continue
        profile = FirmwareEngine(graph, target, rounding, calls=calls).profile(codes)
        for call, instructions in zip(calls, profile, strict=True):
            counts.add(call.layer, instructions)
    counts.save()


@dataclass(frozen=True)
class _Cached:
    """The file of :class:`_Counts`."""

    counts: Mapping[str, Annotated[int, Range(0)]]


class _Counts:
    """Cached instructions of calls by shape: kernel, fields and sizes of the constants.

    They are separate for each compiler, target, rounding rule and version of the kernels.
    """

    def __init__(self, path: Path, target: Target, rounding: Rounding) -> None:
        self._path = path
        kernels: KernelSet = kernel_set_named(target.cpu)
        sources = "".join(source.read_text() for source in kernels.sources())
        parts = (target.name, rounding, repr(target.compile_flags), compiler_version(target), sources)
        self._machine = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        try:
            self._counts = dict(read_record(_Cached, {"counts": read_json(path, "counts")}, str(path)).counts)
        except RuntimeFailure:  # no file yet, or a damaged one: count again
            self._counts = {}

    def __contains__(self, layer: Layer) -> bool:
        return self._key(layer) in self._counts

    def total(self, calls: tuple[Call, ...]) -> int:
        return sum(self._counts[self._key(call.layer)] for call in calls)

    def add(self, layer: Layer, instructions: int) -> None:
        self._counts[self._key(layer)] = instructions

    def save(self) -> None:
        try:
            write_file(self._path, json.dumps(self._counts, indent=0, sort_keys=True).encode())
        except RuntimeFailure as problem:  # the counts of this run are complete all the same
            notes("instruction counts", [f"not kept for the next run: {problem}"])

    def _key(self, layer: Layer) -> str:
        shape = f"{layer.kernel} {layer.scratch_bytes} {sorted(_shape(layer.fields).items())}"
        return f"{self._machine} {hashlib.sha256(shape.encode()).hexdigest()[:24]}"


def _shape(fields: Fields) -> Mapping[str, object]:
    """Fields that determine loop counts: of constant arrays only their length, without scales and zero points."""
    shape: dict[str, object] = {}
    for name, value in fields.items():
        if isinstance(value, Values):
            shape[name] = len(value.values)
        elif isinstance(value, dict):
            shape[name] = sorted(_shape(value).items())
        elif isinstance(value, ByRule):
            shape[name] = (sorted(_shape(value.double).items()), sorted(_shape(value.single).items()))
        elif isinstance(value, int) and "zero_point" not in name and name not in ("low", "high", "multiplier", "shift"):
            shape[name] = value
    return shape
