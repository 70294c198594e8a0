"""A baseline: what a model cost and how well it answered once, and by how much each figure may get worse.

A JSON file made for a repository: one line of a diff per figure, tolerances to be edited by hand, which recording
again keeps. A figure that the file has and that cannot be measured now fails; it never passes unseen. Refuses files
that are not such a baseline, of another version, with a figure that is unknown, there twice or out of range, and
without any figure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyscene.runtime.cost import Rule
from tinyscene.runtime.errors import TinysceneError

from ..errors import ExportError
from .model_figures import FIRMWARE, QUALITIES, UNITS, Figure, Model, value_text

FORMAT = 1
KIND = "tinyscene baseline"
MAKE = "make one with 'tinyscene check MODEL --write-baseline FILE'"
# What to begin with: counts are exact; what a compiler has a hand in moves with its version; a point of accuracy.
TOLERANCES = {**dict.fromkeys(FIRMWARE, 0.02), **dict.fromkeys(QUALITIES, 0.01)}
LARGEST = 2**53  # what any reader of JSON keeps exactly
_ROUNDING = 1e-9  # of sums and products of decimal fractions


@dataclass(frozen=True)
class Held:
    """A recorded figure. ``tolerance`` is a share of ``recorded`` by which a cost may grow, or the share of all clips
    (0.01 is one point) by which accuracy and agreement may fall."""

    figure: Figure
    recorded: float
    tolerance: float

    @property
    def may(self) -> str:
        """The name that the tolerance has in the file."""
        return "may_fall" if self.figure.name in QUALITIES else "may_grow"

    @property
    def allowed(self) -> str:
        """In words."""
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
    """A recorded figure and what it is now; ``measured`` is None where ``problem`` says why it is not known."""

    held: Held
    measured: float | None
    problem: str = ""

    @property
    def passed(self) -> bool:
        return self.measured is not None and self.held.admits(self.measured)

    @property
    def change(self) -> str:
        """From recorded to measured: percent of a cost, points of a share of clips."""
        if self.measured is None:
            return "unknown"
        difference = self.measured - self.held.recorded
        if self.held.figure.name in QUALITIES:
            return f"{100 * difference:+.2f} points"
        return f"{100 * difference / self.held.recorded:+.2f} %" if self.held.recorded else f"{difference:+,.0f}"

    def to_json(self) -> dict[str, Any]:
        record = _record(self.held)
        return {**record, "measured": self.measured, "problem": self.problem, "passed": self.passed}


def compare(baseline: Sequence[Held], model: Model) -> tuple[Comparison, ...]:
    """Measure every figure of a baseline again."""
    found = []
    for held in baseline:
        try:
            found.append(Comparison(held, model.measure(held.figure)))
        except TinysceneError as problem:
            found.append(Comparison(held, None, str(problem)))
    return tuple(found)


def record(
    model: Model, rule: Rule, machines: Sequence[str], former: Sequence[Held] = ()
) -> tuple[tuple[Held, ...], tuple[str, ...]]:
    """All figures of a model and those of a former baseline, which keep their tolerances; and what it does not have.

    Raises:
        TinysceneError: one that was asked for cannot be measured; a baseline never loses a figure unsaid.
    """
    tolerances = {held.figure: held.tolerance for held in former}
    figures = dict.fromkeys([*tolerances, *model.figures(rule, machines)])
    found, without = [], []
    for figure in figures:
        try:
            value = model.measure(figure)
        except TinysceneError as problem:
            if figure.name != "arena" or figure in tolerances:
                raise
            without.append(f"{figure}: {problem}")  # a float network has none
        else:
            found.append(Held(figure, value, tolerances.get(figure, TOLERANCES.get(figure.name, 0.0))))
    return tuple(found), tuple(without)


def baseline_text(model: str, baseline: Sequence[Held]) -> str:
    """The file's content; one line per figure, so that a diff shows which one moved. ``model`` is for readers."""
    figures = ",\n".join(f"  {json.dumps(_record(held))}" for held in baseline)
    head = "".join(f' "{key}": {json.dumps(value)},\n' for key, value in _head(model).items())
    return f'{{\n{head} "figures": [\n{figures}\n ]\n}}\n'


def read_baseline(path: Path) -> tuple[Held, ...]:
    """The figures of a file; raises ExportError, see the module's refusals."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise ExportError(str(path), "no such file", next_step=MAKE) from problem
    except (ValueError, RecursionError, OSError) as problem:
        raise ExportError(str(path), "not a baseline", got=str(problem), next_step=MAKE) from problem
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ExportError(str(path), "not a baseline", next_step=MAKE)
    if content.get("format") != FORMAT:
        raise ExportError(
            str(path), "unknown format of baseline", expected=FORMAT, got=content.get("format"), next_step=MAKE
        )
    if set(content) != {*_head(""), "figures"} or not isinstance(content["figures"], list) or not content["figures"]:
        expected = f"{', '.join(_head(''))} and a list of figures"
        raise ExportError(str(path), "not a whole baseline", expected=expected, got=list(content), next_step=MAKE)
    baseline = tuple(_held(f"{path}, figure {i}", entry) for i, entry in enumerate(content["figures"]))
    for i, held in enumerate(baseline):
        if held.figure in [earlier.figure for earlier in baseline[:i]]:
            raise ExportError(f"{path}, figure {i}", "is there twice", got=held.figure)
    return baseline


def _head(model: str) -> dict[str, Any]:
    return {"kind": KIND, "format": FORMAT, "model": model}


def _record(held: Held) -> dict[str, Any]:
    figure = held.figure
    return {"name": figure.name, "of": figure.of, "recorded": held.recorded, held.may: held.tolerance}


def _held(where: str, entry: Any) -> Held:
    """One figure as the file has it."""
    if not isinstance(entry, dict) or entry.get("name") not in list(UNITS):
        got = entry.get("name") if isinstance(entry, dict) else type(entry).__name__
        raise ExportError(where, "unknown name", expected=" | ".join(UNITS), got=got)
    held = Held(Figure(entry["name"], str(entry.get("of"))), 0.0, 0.0)
    if set(entry) != set(_record(held)) or not isinstance(entry["of"], str):
        raise ExportError(where, "has other fields", expected=list(_record(held)), got=list(entry))
    most = 1 if held.figure.name in QUALITIES else LARGEST
    for field, limit in (("recorded", most), (held.may, 1)):
        value = entry[field]
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= limit:
            expected = f"a number from 0 to {limit:,}"
            raise ExportError(f"{where}, {field}", "not possible", expected=expected, got=value)
    return Held(held.figure, entry["recorded"], entry[held.may])
