"""A baseline: recorded costs and accuracies of a model, and by how much each figure may get worse.

A JSON file for version control, with one line per figure. Tolerances are edited by hand, and kept when the figures are
recorded again. A recorded figure that cannot be measured fails the check. Refuses files that are not a baseline, have
another format version, contain no figure, or contain a figure that is unknown, duplicate or out of range.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tinyscene.runtime.cost import Rule
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.json_files import read_json
from tinyscene.runtime.records import Length, Range, Text, name_text, read_record

from ..errors import ExportError
from .model_figures import FIRMWARE, MODELLED, QUALITIES, UNITS, Figure, Model, value_text

FORMAT = 1
KIND = "tinyscene baseline"
WRITE_ONE = "write one with 'tinyscene check MODEL --write-baseline FILE'"
# Initial tolerances: none for counts; 2 % for figures that vary with the compiler's version; one point of accuracy.
TOLERANCES = {**dict.fromkeys((*FIRMWARE, *MODELLED), 0.02), **dict.fromkeys(QUALITIES, 0.01)}
MOST_FIGURES = 256
LARGEST = 2**53  # every JSON reader represents integers up to here exactly
_ROUNDING = 1e-9  # error of sums and products of decimal fractions


@dataclass(frozen=True)
class BaselineEntry:
    """A recorded figure.

    ``tolerance``: share of ``recorded`` by which a cost may grow, or share of all clips (0.01 is one point) by which
    accuracy and agreement may fall.
    """

    figure: Figure
    recorded: float
    tolerance: float

    @property
    def tolerance_key(self) -> str:
        """Name of the tolerance in the file."""
        return "may_fall" if self.figure.name in QUALITIES else "may_grow"

    @property
    def allowed(self) -> str:
        """Recorded value and tolerance, as shown to the user."""
        amount = f"{100 * self.tolerance:g}"
        if self.figure.name in QUALITIES:
            return f"{value_text(self.figure.name, self.recorded)} less {amount} points"
        return f"{value_text(self.figure.name, self.recorded)} + {amount} %"

    def admits(self, value: float) -> bool:
        """Whether a value is no worse than the tolerance allows."""
        if self.figure.name in QUALITIES:
            return value >= self.recorded - self.tolerance - _ROUNDING
        return value <= self.recorded * (1 + self.tolerance) + _ROUNDING


@dataclass(frozen=True)
class Comparison:
    """A recorded figure and its current value; ``measured`` is None if it is unknown, for the reason in ``problem``."""

    entry: BaselineEntry
    measured: float | None
    problem: str = ""

    @property
    def passed(self) -> bool:
        return self.measured is not None and self.entry.admits(self.measured)

    @property
    def change(self) -> str:
        """Difference between measured and recorded: percent of a cost, points of a share of clips."""
        if self.measured is None:
            return "unknown"
        difference = self.measured - self.entry.recorded
        if self.entry.figure.name in QUALITIES:
            return f"{100 * difference:+.2f} points"
        return f"{100 * difference / self.entry.recorded:+.2f} %" if self.entry.recorded else f"{difference:+,.0f}"

    def to_json(self) -> dict[str, object]:
        record = _record(self.entry)
        return {**record, "measured": self.measured, "problem": self.problem, "passed": self.passed}


def compare(baseline: Sequence[BaselineEntry], model: Model) -> tuple[Comparison, ...]:
    """Measure every figure of a baseline again."""
    comparisons = []
    for entry in baseline:
        try:
            comparisons.append(Comparison(entry, model.measure(entry.figure)))
        except TinysceneError as problem:
            comparisons.append(Comparison(entry, None, str(problem)))
    return tuple(comparisons)


def record(
    model: Model,
    rule: Rule,
    machines: Sequence[str],
    former: Sequence[BaselineEntry] = (),
    board: str | None = None,
) -> tuple[tuple[BaselineEntry, ...], tuple[str, ...]]:
    """Measure all figures of a model and those of a former baseline, which keep their tolerances.

    Returns:
        The entries, and one line for each figure that the model does not have.

    Raises:
        TinysceneError: a figure of the former baseline, or one that every model has, cannot be measured.
    """
    tolerances = {entry.figure: entry.tolerance for entry in former}
    figures = dict.fromkeys([*tolerances, *model.figures(rule, machines, board)])
    entries, missing = [], []
    for figure in figures:
        try:
            value = model.measure(figure)
        except TinysceneError as problem:
            if figure.name not in ("arena", "microjoules") or figure in tolerances:
                raise
            missing.append(f"{figure}: {problem}")  # a float network has no arena, and some boards no known energy
        else:
            kept = float(f"{value:.4g}") if figure.name in MODELLED else value  # further digits mean nothing
            entries.append(BaselineEntry(figure, kept, tolerances.get(figure, TOLERANCES.get(figure.name, 0.0))))
    return tuple(entries), tuple(missing)


def baseline_text(model: str, baseline: Sequence[BaselineEntry]) -> str:
    """The file's content, with one line per figure. ``model`` is its name, for information only."""
    figures = ",\n".join(f"  {json.dumps(_record(entry))}" for entry in baseline)
    head = "".join(f' "{key}": {json.dumps(value)},\n' for key, value in _head(model).items())
    return f'{{\n{head} "figures": [\n{figures}\n ]\n}}\n'


def read_baseline(path: Path, next_step: str = WRITE_ONE) -> tuple[BaselineEntry, ...]:
    """The entries of a file; raises TinysceneError for the reasons in the module's description."""
    content = read_json(path, "a baseline", next_step)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ExportError(str(path), "not a baseline", next_step=next_step)
    if content.get("format") != FORMAT:
        what, got = "unknown format version of a baseline", repr(content.get("format"))[:80]
        raise ExportError(str(path), what, expected=FORMAT, got=got, next_step=next_step)
    stored = read_record(_Baseline, content, str(path), next_step)
    baseline = tuple(_entry(f"{path}, figure {i}", record) for i, record in enumerate(stored.figures))
    for i, entry in enumerate(baseline):
        if entry.figure in [earlier.figure for earlier in baseline[:i]]:
            raise ExportError(f"{path}, figure {i}", "duplicate", got=entry.figure)
    return baseline


@dataclass(frozen=True)
class _Baseline:
    """The whole file; each figure is read by its kind."""

    kind: Literal["tinyscene baseline"]
    format: Literal[1]
    model: Annotated[str, name_text(1000, shortest=0)]
    figures: Annotated[tuple[object, ...], Length(1, MOST_FIGURES)]


@dataclass(frozen=True)
class _CostRecord:
    name: Annotated[str, Text("|".join(set(UNITS) - set(QUALITIES)), " or ".join(UNITS))]
    of: Annotated[str, name_text(1000, shortest=0)]
    recorded: Annotated[float, Range(0, LARGEST)]
    may_grow: Annotated[float, Range(0, 1)]


@dataclass(frozen=True)
class _QualityRecord:
    name: Annotated[str, Text("|".join(QUALITIES), " or ".join(UNITS))]
    of: Annotated[str, name_text(1000, shortest=0)]
    recorded: Annotated[float, Range(0, 1)]
    may_fall: Annotated[float, Range(0, 1)]


def _head(model: str) -> dict[str, str | int]:
    return {"kind": KIND, "format": FORMAT, "model": model}


def _record(entry: BaselineEntry) -> dict[str, str | float]:
    figure = entry.figure
    return {"name": figure.name, "of": figure.of, "recorded": entry.recorded, entry.tolerance_key: entry.tolerance}


def _entry(where: str, record: object) -> BaselineEntry:
    """One figure of the file."""
    if isinstance(record, dict) and record.get("name") in QUALITIES:
        quality = read_record(_QualityRecord, record, where, WRITE_ONE)
        return BaselineEntry(Figure(quality.name, quality.of), quality.recorded, quality.may_fall)
    cost = read_record(_CostRecord, record, where, WRITE_ONE)
    return BaselineEntry(Figure(cost.name, cost.of), cost.recorded, cost.may_grow)
