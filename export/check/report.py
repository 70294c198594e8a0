"""Results of ``tinyscene check`` as a terminal table, JSON, JUnit XML and Markdown.

Every form has one line per limit and per figure of a baseline.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from xml.etree import ElementTree

from tinyscene.firmware_harness.cycles.estimate import Interval
from tinyscene.runtime.cost import RULES, Cost, Verdict
from tinyscene.runtime.markdown import cell
from tinyscene.runtime.printable import printable, short_name
from tinyscene.runtime.terminal import Column, end_of, print_table, say, wide

from .baseline import Comparison
from .model_figures import UNITS, value_text

MOST_NAMED = 5  # layers that no rule counts; JSON has all of them
LONGEST_NAME = 32  # terminal cells of a layer's name in the table; JSON has all of them


@dataclass(frozen=True)
class Line:
    """One comparison with a limit or a baseline, as text."""

    passed: bool
    name: str
    measured: str
    allowed: str
    sentence: str


@dataclass(frozen=True)
class ModelledVerdict:
    """A limit of modelled time or energy on a board; it holds when the whole interval is within it."""

    name: str
    limit: float
    measured: Interval
    board: str

    @property
    def passed(self) -> bool:
        return self.measured.high <= self.limit

    def to_json(self) -> dict[str, object]:
        interval = {"measured": self.measured.value, "low": self.measured.low, "high": self.measured.high}
        record = {"name": self.name, "limit": self.limit, **interval, "unit": UNITS[self.name]}
        return {**record, "board": self.board, "passed": self.passed}


@dataclass(frozen=True)
class Report:
    """``limits`` and ``modelled`` limits of the command line, and ``comparisons`` with the ``baseline`` file."""

    artefact: str
    cost: Cost
    limits: tuple[Verdict, ...]
    baseline: str | None = None
    comparisons: tuple[Comparison, ...] = ()
    modelled: tuple[ModelledVerdict, ...] = ()

    @property
    def passed(self) -> bool:
        return all(line.passed for line in self.lines)

    @property
    def lines(self) -> tuple[Line, ...]:
        limits = (*map(_limit_line, self.limits), *map(_modelled_line, self.modelled))
        return (*limits, *map(_comparison_line, self.comparisons))


def _limit_line(verdict: Verdict) -> Line:
    sign = "<=" if verdict.passed else ">"
    share = 100 * verdict.measured / verdict.limit
    measured, limit = (f"{value:,} {verdict.unit}" for value in (verdict.measured, verdict.limit))
    text = f"{verdict.limit_name}: {measured} {sign} {limit} ({share:.1f} %, rule {verdict.rule})"
    if verdict.uncounted:
        text = f"{verdict.limit_name}: unknown, at least {measured}, limit {limit} (rule {verdict.rule})"
    return _line(verdict.passed, f"{verdict.limit_name} ({verdict.rule})", measured, limit, text)


def _modelled_line(verdict: ModelledVerdict) -> Line:
    interval, name = verdict.measured, f"{verdict.name} ({verdict.board})"
    low, high, limit = (value_text(verdict.name, value) for value in (interval.low, interval.high, verdict.limit))
    measured = f"{value_text(verdict.name, interval.value)}, between {low} and {high}"
    sign = "<=" if verdict.passed else "may exceed" if interval.low <= verdict.limit else ">"
    return _line(verdict.passed, name, measured, limit, f"{name}: {measured} {sign} {limit}")


def _comparison_line(comparison: Comparison) -> Line:
    entry, name = comparison.entry, f"{comparison.entry.figure}, baseline"
    if comparison.measured is None:
        text = f"{entry.figure}: unknown, recorded {entry.allowed}: {comparison.problem}"
        return _line(False, name, f"unknown: {comparison.problem}", entry.allowed, text)
    measured = f"{value_text(entry.figure.name, comparison.measured)}, {comparison.change}"
    text = f"{entry.figure}: {measured}, recorded {entry.allowed}"
    return _line(comparison.passed, name, measured, entry.allowed, text)


def _line(passed: bool, name: str, measured: str, allowed: str, text: str) -> Line:
    return Line(passed, name, measured, allowed, f"{'pass' if passed else 'FAIL'}  {text}")


def show(report: Report) -> None:
    """Print the table of layers with a cost, the rule, and one line per comparison."""
    console, cost = wide(), report.cost
    figures = (
        ("parameters", cost.parameters),
        (f"MACs ({cost.rule})", cost.macs),
        (f"bytes ({cost.rule})", cost.n_bytes),
    )
    columns = [Column("layer", wraps=True, footer="total"), Column("op"), Column("output")]
    columns += [Column(heading, right=True, footer=f"{total:,}") for heading, total in figures]
    costly = [row for row in cost.layers if row.parameters or row.macs or row.n_bytes or not row.counted]
    rows = []
    for row in costly:
        shape = "x".join(map(str, row.output_shape))
        name, macs = _shown_name(row.name), f"{row.macs:,}" if row.counted else "?"
        rows.append((name, row.op, shape, f"{row.parameters:,}", macs, f"{row.n_bytes:,}"))
    if cost.frame_bytes:
        rows.append(("(file structure)", "", "", "", "", f"{cost.frame_bytes:,}"))
    print_table(f"{report.artefact}: {cost.source}", columns, rows)
    free = len(cost.layers) - len(costly)
    if free:
        say(console, f"{free} layer{'s' if free > 1 else ''} without cost by this rule not listed")
    if cost.uncounted:
        say(console, f"no rule counts the MACs of {_uncounted(cost)}; count them by hand")
    say(console, f"rule {cost.rule}: {RULES[cost.rule]}")
    for line in report.lines:
        style = "green" if line.passed else "bold red"
        say(console, line.sentence, style=style)


def _shown_name(name: str) -> str:
    return end_of(short_name(name), LONGEST_NAME)


def _uncounted(cost: Cost) -> str:
    """The first layers that no rule counts, and how many more."""
    rows = [row for row in cost.layers if not row.counted]
    named = [f"'{_shown_name(row.name)}' ({row.op})" for row in rows[:MOST_NAMED]]
    more = [f"{len(rows) - MOST_NAMED} more (--json names all)"] if len(rows) > MOST_NAMED else []
    return ", ".join(named + more)


def as_json(report: Report) -> str:
    """All figures as one JSON document."""
    cost = report.cost
    record = {
        "artefact": report.artefact,
        "source": cost.source,
        "rule": cost.rule,
        "rule_text": RULES[cost.rule],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "bytes": cost.n_bytes,
        "file_structure_bytes": cost.frame_bytes,
        "uncounted": list(cost.uncounted),
        "passed": report.passed,
        "verdicts": [
            {"name": v.limit_name, "limit": v.limit, "measured": v.measured, "unit": v.unit, "passed": v.passed}
            for v in report.limits
        ]
        + [v.to_json() for v in report.modelled],
        "baseline": report.baseline,
        "comparisons": [comparison.to_json() for comparison in report.comparisons],
        "layers": [
            {
                "name": row.name,
                "op": row.op,
                "output_shape": list(row.output_shape),
                "parameters": row.parameters,
                "macs": row.macs,
                "bytes": row.n_bytes,
            }
            for row in cost.layers
        ],
    }
    return json.dumps(record, indent=1) + "\n"


def as_junit(report: Report) -> str:
    """JUnit XML with one test case per line."""
    failures = sum(not line.passed for line in report.lines)
    suite = ElementTree.Element(
        "testsuite", name="tinyscene check", tests=str(len(report.lines)), failures=str(failures), errors="0"
    )
    for line in report.lines:
        names = {"classname": printable(report.artefact), "name": printable(line.name)}
        case = ElementTree.SubElement(suite, "testcase", names)
        if not line.passed:
            ElementTree.SubElement(case, "failure", message=printable(line.sentence))
        ElementTree.SubElement(case, "system-out").text = printable(f"{line.sentence}; {report.cost.source}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def as_markdown(report: Report) -> str:
    """Verdicts and layers as Markdown tables, for a pull request."""
    cost = report.cost
    lines = [f"### {cell(report.artefact)}", "", f"{cell(cost.source)}; rule `{cost.rule}`: {RULES[cost.rule]}", ""]
    lines += ["| figure | measured | allowed | verdict |", "|---|---:|---:|---|"]
    for line in report.lines:
        word = "pass" if line.passed else "**FAIL**"
        lines.append(f"| {cell(line.name)} | {cell(line.measured)} | {cell(line.allowed)} | {word} |")
    lines += ["", f"| layer | op | output | parameters | MACs ({cost.rule}) | bytes ({cost.rule}) |"]
    lines += ["|---|---|---|---:|---:|---:|"]
    for row in cost.layers:
        shape = "x".join(map(str, row.output_shape))
        figures = f"{row.parameters:,} | {f'{row.macs:,}' if row.counted else '?'} | {row.n_bytes:,}"
        lines.append(f"| {cell(short_name(row.name))} | {cell(row.op)} | {shape} | {figures} |")
    if cost.frame_bytes:
        lines.append(f"| (file structure) | | | | | {cost.frame_bytes:,} |")
    lines.append(f"| **total** | | | {cost.parameters:,} | {cost.macs:,} | {cost.n_bytes:,} |")
    return "\n".join(lines) + "\n"
