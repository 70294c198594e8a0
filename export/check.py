"""``tinyscene check``: hold a model against a budget of bytes and MACs, layer by layer, and against a baseline.

The figures go to standard output, with the counting rule beside each; JSON, JUnit and Markdown files are written for
machines. Exit code 0 within all limits, 1 beyond one, 2 for an artefact that cannot be counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from runtime.cost import Rule

    from .baseline import Held
    from .figures import Model


def check(
    artefact: Annotated[
        Path, typer.Argument(help="A checkpoint, .onnx, .tflite or a bundle folder.", show_default=False)
    ],
    max_size: Annotated[str, typer.Option(help="Most bytes: 128kB (1000 B each), 125KiB, 128000.")] = "128kB",
    max_macs: Annotated[str, typer.Option(help="Most MACs per clip: 30M, 29.4e6.")] = "30M",
    rule: Annotated[str, typer.Option(help="How to count: dcase, torchinfo, nessi or stored.")] = "dcase",
    baseline: Annotated[Path | None, typer.Option(help="Fail when a figure of this file got worse.")] = None,
    write_baseline: Annotated[Path | None, typer.Option(help="Record the figures in such a file.")] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help="Record firmware too: cortex-m4, ...; may stand several times.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder in TAU22 layout, for the baseline's accuracy.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", help="Write the verdicts as JUnit XML.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Write a report in Markdown.")] = None,
) -> None:
    """Count a model's bytes and MACs by a published rule and hold them against limits.

    A baseline holds what a model cost before, on firmware targets too, and how well it answered.
    """
    from runtime.cost import parse_count, parse_size, require_rule, verdicts
    from runtime.spec import Budget

    from .baseline import compare, read_baseline
    from .check_report import Report, as_json, as_junit, as_markdown, show
    from .figures import Model
    from .written import require_folders, write_file

    _refuse_contradictions(baseline, write_baseline, measure, data)
    require_folders(write_baseline, json_file, junit_file, markdown_file)
    budget = Budget(max_bytes=parse_size(max_size), max_macs=parse_count(max_macs))
    counted_by, former = require_rule(rule), read_baseline(baseline) if baseline else ()
    model = Model(artefact, data)
    cost = model.cost(counted_by)
    if data:
        _require_use(data, model, former if baseline else None)
    compared = str(baseline) if baseline else None
    report = Report(str(artefact), cost, verdicts(cost, budget), compared, compare(former, model))
    recorded = _recorded(write_baseline, model, counted_by, measure or []) if write_baseline else []
    for path, write in ((json_file, as_json), (junit_file, as_junit), (markdown_file, as_markdown)):
        if path is not None:
            write_file(path, write(report).encode())
    show(report)
    for line in recorded:
        typer.echo(line)
    if not report.passed:
        raise typer.Exit(1)


def _refuse_contradictions(
    baseline: Path | None, write_baseline: Path | None, measure: list[str] | None, data: Path | None
) -> None:
    from .errors import ExportError

    if baseline and write_baseline:
        raise ExportError("check", "compares with a baseline or records one", expected="one of the two", got="both")
    if measure and not write_baseline:
        raise ExportError("--measure", "is for recording", expected="--write-baseline; --baseline's file names its own")
    if data and not (baseline or write_baseline):
        raise ExportError("--data", "is for a baseline's accuracy", expected="--baseline or --write-baseline")


def _require_use(data: Path, model: Model, baseline: Sequence[Held] | None) -> None:
    """Clips that cannot be read, or that no figure of a baseline asks for, are an error and not a verdict."""
    from .errors import ExportError

    if baseline is not None and not any(held.figure.heard for held in baseline):
        step = "record it with --write-baseline and --data"
        raise ExportError(str(data), "the baseline holds no accuracy on clips", next_step=step)
    model.answers()


def _recorded(path: Path, model: Model, rule: Rule, machines: list[str]) -> list[str]:
    """Write the baseline, and say what is in it; one that is there passes its figures and tolerances on."""
    from .baseline import baseline_text, read_baseline, record
    from .written import write_file

    former = read_baseline(path) if path.exists() else ()
    recorded, without = record(model, rule, machines, former)
    write_file(path, baseline_text(str(model.path), recorded).encode())
    said = [f"recorded  {held.figure}: {held.allowed}" for held in recorded]
    return [*said, *(f"not recorded  {words}" for words in without)]
