"""Choose between the variants of a graph's calls by their modelled cycles, from counts in the emulator.

A call may have leaner variants with less memory and more instructions (:attr:`Layer.leaner`), and so may a segment of
several calls (:func:`tinyscene.firmware_harness.emit.schedule.segments`). Cycles are those of a board, with its flash
and caches: the one that is given, or the one that stands for the target; where no cost model fits, instructions decide.
Counts are cached by the call's shape, so that another model with the same layers needs no new count. ``balanced`` is
the smallest arena whose inference takes at most 5 % longer than the fastest. Refuses targets without a counter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
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
from tinyscene.runtime.records import Length, Range, read_record
from tinyscene.runtime.terminal import notes
from tinyscene.runtime.vectors import row_shape

from ..build.targets import Target
from ..build.tools import compiler_version
from ..cpu.kernel_sets import kernel_set_named
from ..cycles.counts import Counts, field_names
from ..cycles.estimate import Machine, machine_of_board, machine_of_cpu
from ..cycles.families import FAMILIES
from ..emit.kernel_set import KernelSet
from ..emit.records import ByRule, Fields, Layer, Values
from ..emit.schedule import Call, Mode, plan_calls, schedule, segments
from ..errors import FirmwareError
from .engine import FirmwareEngine
from .modelled import REFERENCE_BOARDS, call_counts

N_FIELDS = len(field_names())
SLACK = 0.05  # share of the fastest's work that `balanced` may add to save memory


@dataclass(frozen=True)
class Cost:
    """Cost of a whole inference, without what runs between calls; ``cycles`` None where none are modelled."""

    instructions: int
    arena_bytes: int
    cycles: float | None = None


@dataclass(frozen=True, eq=False)
class Variant:
    """One variant of a segment: its work, and the graph's arena when all other segments use their leanest."""

    calls: tuple[Call, ...]
    instructions: int
    arena_bytes: int
    cycles: float | None = None

    @property
    def work(self) -> float:
        """Modelled cycles, or instructions where none are modelled."""
        return self.instructions if self.cycles is None else self.cycles


Variants = tuple[tuple[Variant, ...], ...]  # of each segment, the leanest last


@dataclass(frozen=True, eq=False)
class Tuned:
    """The ``variants`` of every segment, the indices of the ``chosen`` ones, and the cost of each mode.

    ``machine``: what cycles are modelled for; None where instructions decide.
    """

    variants: Variants
    chosen: tuple[int, ...]
    costs: Mapping[Mode, Cost]
    machine: Machine | None = None

    @property
    def calls(self) -> tuple[Call, ...]:
        """The chosen calls of the whole graph."""
        return _calls(self.variants, self.chosen)


def chosen_calls(
    graph: Graph, target: Target, rounding: Rounding, optimise: Mode, machine: Machine | None = None
) -> tuple[tuple[Call, ...], Tuned | None]:
    """Return the calls of a mode, and the counts that they were chosen by.

    ``balanced`` is always chosen by counts; ``speed`` and ``ram`` are where ``machine`` is given, and are otherwise the
    kernel set's own order.

    Raises:
        FirmwareError: an op without a kernel; also see :func:`tune`.
    """
    if optimise == "balanced" or (machine is not None and optimise != "layers"):
        tuned = tune(graph, target, rounding, optimise, machine=machine)
        return tuned.calls, tuned
    return schedule(graph, kernel_set_named(target.cpu), optimise), None


def tune(
    graph: Graph,
    target: Target,
    rounding: Rounding,
    optimise: Mode = "balanced",
    *,
    machine: Machine | None = None,
    slack: float = SLACK,
    cache: Path | None = None,
) -> Tuned:
    """Find the smallest arena whose work exceeds the fastest's by at most ``slack``.

    Args:
        graph: the model.
        target: an emulated machine.
        rounding: rounding rule to compile in.
        optimise: ``speed`` allows no slack, ``ram`` any.
        machine: what cycles are modelled for; by default the board that stands for the target.
        slack: as a share of the fastest's work.
        cache: file of earlier counts; by default in the user's cache folder.

    Raises:
        FirmwareError: the target has no counter, or a tool is missing.
    """
    if target.emulator is None:
        what = "no instruction counter"
        raise FirmwareError(f"tuning for {target.name}", what, next_step="choose an emulated --target")
    kernels, machine = kernel_set_named(target.cpu), machine or reference_machine(target)
    counts = _Counts(cache or cache_folder() / "counts.json", target, rounding, machine)
    options = segments(graph, kernels)
    _count(graph, target, rounding, options, counts)
    variants = _variants(graph, options, counts)
    chosen = _smallest(graph, variants, {"speed": 0.0, "ram": float("inf")}.get(optimise, slack))
    modes: dict[Mode, tuple[Call, ...]] = {"speed": schedule(graph, kernels, "speed")}
    modes |= {"ram": schedule(graph, kernels, "ram"), optimise: _calls(variants, chosen)}
    costs = {mode: counts.cost(calls, plan_calls(graph, calls).arena_bytes) for mode, calls in modes.items()}
    return Tuned(variants, chosen, costs, machine)


def reference_machine(target: Target) -> Machine | None:
    """The board that stands for a target, or its processor without wait states; None without a cost model."""
    if target.name in REFERENCE_BOARDS:
        return machine_of_board(REFERENCE_BOARDS[target.name])
    return machine_of_cpu(target.family) if target.family in FAMILIES else None


def _smallest(graph: Graph, variants: Variants, slack: float) -> tuple[int, ...]:
    """The variants with the smallest arena whose work exceeds the fastest's by at most ``slack``."""
    fastest = tuple(_by_speed(v)[0] for v in variants)
    limit = (1.0 + slack) * _total(variants, fastest)
    for arena_bytes in sorted({variant.arena_bytes for variant in chain(*variants)}):
        chosen = _within(graph, variants, arena_bytes)
        if chosen is not None and _total(variants, chosen) <= limit:
            return chosen
    return fastest


def _by_speed(variants: tuple[Variant, ...]) -> list[int]:
    """Indices of the variants, the fastest first."""
    return sorted(range(len(variants)), key=lambda index: variants[index].work)


def _total(variants: Variants, chosen: tuple[int, ...]) -> float:
    return sum(v[index].work for v, index in zip(variants, chosen, strict=True))


def _calls(variants: Variants, chosen: tuple[int, ...]) -> tuple[Call, ...]:
    return tuple(chain(*(v[index].calls for v, index in zip(variants, chosen, strict=True))))


def _variants(graph: Graph, options: tuple[tuple[tuple[Call, ...], ...], ...], counts: _Counts) -> Variants:
    """Every option with its instructions and its arena."""
    leanest = [option[-1] for option in options]

    def arena_bytes(index: int, calls: tuple[Call, ...]) -> int:
        return plan_calls(graph, tuple(chain(*leanest[:index], calls, *leanest[index + 1 :]))).arena_bytes

    def variant(index: int, calls: tuple[Call, ...]) -> Variant:
        cost = counts.cost(calls, arena_bytes(index, calls))
        return Variant(calls, cost.instructions, cost.arena_bytes, cost.cycles)

    return tuple(tuple(variant(index, calls) for calls in option) for index, option in enumerate(options))


def _within(graph: Graph, variants: Variants, arena_bytes: int) -> tuple[int, ...] | None:
    """The fastest variant of each segment with an arena of at most ``arena_bytes``; None if even the leanest exceed it.

    Greedy: one segment after the other.
    """
    chosen = [len(v) - 1 for v in variants]
    if plan_calls(graph, _calls(variants, tuple(chosen))).arena_bytes > arena_bytes:
        return None
    for index, v in enumerate(variants):
        for faster in (i for i in _by_speed(v) if i == chosen[index] or v[i].arena_bytes <= arena_bytes):
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
    while True:
        most = (max(option, key=lambda calls: sum(call.layer not in counts for call in calls)) for option in options)
        calls = tuple(chain(*most))
        if all(call.layer in counts for call in calls):
            break
        engine = FirmwareEngine(graph, target, rounding, calls=calls)
        if counts.machine is None:
            counted: tuple[Counts, ...] = tuple(Counts(instructions=n) for n in engine.profile(codes))
        else:
            counted = call_counts(engine, codes)
        for call, each in zip(calls, counted, strict=True):
            counts.add(call.layer, each)
    counts.save()


@dataclass(frozen=True)
class _Cached:
    """The file of :class:`_Counts`: the fields of each call's counts, in order."""

    counts: Mapping[str, Annotated[tuple[Annotated[float, Range(0)], ...], Length(N_FIELDS, N_FIELDS)]]


class _Counts:
    """Cached counts of calls by shape: kernel, fields and sizes of the constants.

    They are separate for each compiler, target, rounding rule and version of the kernels, and for whether cycles are
    modelled.
    """

    def __init__(self, path: Path, target: Target, rounding: Rounding, machine: Machine | None) -> None:
        self._path, self.machine = path, machine
        kernels: KernelSet = kernel_set_named(target.cpu)
        sources = "".join(source.read_text() for source in kernels.sources())
        modelled = field_names() if machine is not None else ()
        parts = (target.name, rounding, repr(target.compile_flags), compiler_version(target), sources, *modelled)
        self._machine = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        try:
            self._counts = dict(read_record(_Cached, {"counts": read_json(path, "counts")}, str(path)).counts)
        except RuntimeFailure:  # no file yet, or a damaged one: count again
            self._counts = {}

    def __contains__(self, layer: Layer) -> bool:
        return self._key(layer) in self._counts

    def cost(self, calls: tuple[Call, ...], arena_bytes: int) -> Cost:
        """Instructions and cycles of calls together."""
        counts = sum((Counts(*self._counts[self._key(call.layer)]) for call in calls), Counts())
        cycles = None if self.machine is None else self.machine.cycles(counts).value
        return Cost(round(counts.instructions), arena_bytes, cycles)

    def add(self, layer: Layer, counts: Counts) -> None:
        self._counts[self._key(layer)] = astuple(counts)

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
