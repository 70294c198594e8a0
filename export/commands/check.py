"""``tinyscene check``: check size, MACs, time and energy of a model against limits, and its figures against a baseline.

Prints the figures with their counting rule; optionally writes JSON, JUnit and Markdown files. Exit code 0 within all
limits, 1 beyond one, 2 for a model that cannot be counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.firmware_harness.build.targets import TARGETS as MACHINES
from tinyscene.firmware_harness.cycles.boards import BOARDS
from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, MarkdownFile, Quiet, RecordFile, file_to_write, one_of, some_of

RULES = ("dcase", "torchinfo", "nessi", "stored")  # of tinyscene.runtime.cost, which imports NumPy

if TYPE_CHECKING:
    from tinyscene.runtime.cost import Rule

    from ..check.baseline import BaselineEntry
    from ..check.model_figures import Model
    from ..check.report import ModelledVerdict, Report


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """Limits of the command line, the rule that counts, and the board that time and energy are modelled on."""

    max_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Limit of the size: 128kB (1000 B each), 125KiB, 128000.")
    ] = "128kB"
    max_macs: Annotated[str, typer.Option(metavar="COUNT", help="Limit of MACs per clip, such as 29.4e6.")] = "30M"
    max_ms: Annotated[
        float | None, typer.Option(metavar="MS", min=0, help="Limit of modelled milliseconds per inference.")
    ] = None
    max_uj: Annotated[
        float | None, typer.Option(metavar="UJ", min=0, help="Limit of modelled microjoules per inference.")
    ] = None
    board: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Board that time and energy are modelled on.",
            autocompletion=one_of(BOARDS),
        ),
    ] = None
    rule: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Counting rule: dcase, torchinfo, nessi, stored.", autocompletion=one_of(RULES)
        ),
    ] = "dcase"


@dataclass(frozen=True, kw_only=True)
class BaselineOptions:
    """A baseline to compare with or to write, and the figures beyond size and MACs."""

    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Fail if a figure is worse than in this file.")
    ] = None
    write_baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the figures to a baseline file.", callback=file_to_write("{")),
    ] = None
    targets: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Also record firmware figures of these targets.", autocompletion=some_of(MACHINES)
        ),
    ] = None
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder in TAU22 layout, to measure accuracy.")] = (
        None
    )

    @property
    def machines(self) -> list[str]:
        return self.targets.split(",") if self.targets else []


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Files to write, and the form of standard output."""

    out: RecordFile = None
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write the verdicts as JUnit XML.", callback=file_to_write("<")),
    ] = None
    markdown: MarkdownFile = None
    quiet: Quiet = False
    as_json: AsJson = False


@grouped
def check(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A bundle folder, .tflite, .onnx or checkpoint file.", show_default=False),
    ],
    limits: LimitOptions,
    figures: BaselineOptions,
    reports: ReportOptions,
) -> None:
    """Check size, MACs, time and energy of a model against limits or a baseline.

    Exit code 1 beyond a limit, or if a figure is worse than in the baseline.
    """
    from tinyscene.runtime.cost import parse_count, parse_size, require_rule, verdicts
    from tinyscene.runtime.spec import Budget
    from tinyscene.runtime.terminal import notes

    from ..check.baseline import compare, read_baseline
    from ..check.model_figures import Model
    from ..check.report import Report

    _refuse_contradictions(figures)
    _require_board(limits, figures)
    budget = Budget(max_bytes=parse_size(limits.max_size), max_macs=parse_count(limits.max_macs))
    rule, former = require_rule(limits.rule), read_baseline(figures.baseline) if figures.baseline else ()
    counted = Model(model, figures.data)
    cost = counted.cost(rule)
    notes(str(model), cost.notes)
    if figures.data:
        _require_use(figures.data, counted, former if figures.baseline else None)
    baseline = str(figures.baseline) if figures.baseline else None
    modelled = tuple(_modelled(counted, limits))
    report = Report(str(model), cost, verdicts(cost, budget), baseline, compare(former, counted), modelled)
    path = figures.write_baseline
    recorded = _recorded(path, counted, rule, figures.machines, limits.board) if path else []
    _write(report, reports, recorded)
    if not report.passed:
        raise typer.Exit(1)


def _write(report: Report, options: ReportOptions, recorded: list[str]) -> None:
    """Write the files, then print the report and the lines of recorded figures, or the JSON document alone."""
    from tinyscene.runtime.files import write_file
    from tinyscene.runtime.terminal import echo, echo_document

    from ..check.report import as_json, as_junit, as_markdown, show

    for path, text in ((options.out, as_json), (options.junit, as_junit), (options.markdown, as_markdown)):
        if path is not None:
            write_file(path, text(report).encode())
    if options.as_json:
        echo_document(as_json(report))
        return
    show(report)
    for line in recorded:
        echo(line)


def _refuse_contradictions(figures: BaselineOptions) -> None:
    from ..errors import ExportError

    if figures.baseline and figures.write_baseline:
        raise ExportError("check", "at most one of --baseline and --write-baseline is possible", got="both")
    if figures.machines and not figures.write_baseline:
        raise ExportError("--targets", "needs --write-baseline", got="no --write-baseline")
    if figures.data and not (figures.baseline or figures.write_baseline):
        raise ExportError("--data", "needs --baseline or --write-baseline", got="neither")


def _require_board(limits: LimitOptions, figures: BaselineOptions) -> None:
    """Refuse limits of time and energy without a board, and a board without use."""
    from ..errors import ExportError

    limited = limits.max_ms is not None or limits.max_uj is not None
    if limited and limits.board is None:
        name = "--max-ms" if limits.max_ms is not None else "--max-uj"
        raise ExportError(name, "needs --board", expected=" or ".join(BOARDS))
    if limits.board is not None and not limited and not figures.write_baseline:
        raise ExportError("--board", "needs --max-ms, --max-uj or --write-baseline", got="none of them")


def _modelled(model: Model, limits: LimitOptions) -> Iterator[ModelledVerdict]:
    """Verdicts of the limits of time and energy."""
    from ..check.report import ModelledVerdict

    for name, limit in (("milliseconds", limits.max_ms), ("microjoules", limits.max_uj)):
        if limit is not None and limits.board is not None:
            yield ModelledVerdict(name, limit, model.modelled(name, limits.board), limits.board)


def _require_use(data: Path, model: Model, baseline: Sequence[BaselineEntry] | None) -> None:
    """Refuse clips that cannot be read, and clips that no figure of the baseline uses."""
    from ..errors import ExportError

    if baseline is not None and not any(entry.figure.on_clips for entry in baseline):
        step = "record it with --write-baseline and --data"
        raise ExportError(str(data), "the baseline contains no accuracy on clips", next_step=step)
    model.qualities()


def _recorded(path: Path, model: Model, rule: Rule, machines: list[str], board: str | None) -> list[str]:
    """Write the baseline and return one line per figure; an existing file's figures and tolerances are kept."""
    from tinyscene.runtime.files import write_file

    from ..check.baseline import baseline_text, read_baseline, record

    former = read_baseline(path, "remove it, or give another file") if path.exists() and path.stat().st_size else ()
    recorded, missing = record(model, rule, machines, former, board)
    write_file(path, baseline_text(str(model.path), recorded).encode())
    lines = [f"recorded  {entry.figure}: {entry.allowed}" for entry in recorded]
    return [*lines, *(f"not recorded  {line}" for line in missing)]
