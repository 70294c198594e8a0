"""``tinyscene eval``: accuracy of a checkpoint or a bundle on the test part of a folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, Engine, Quiet, RecordFile, ReportFile

from .options import Data
from .output import echo, echo_json, evaluation_lines


@dataclass(frozen=True, kw_only=True)
class EvaluationFiles:
    """Files that an evaluation writes, and one to compare with."""

    out: RecordFile = None
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Another evaluation JSON to compare with.")
    ] = None
    report: ReportFile = None


@grouped
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint, or a bundle folder.")],
    data: Data,
    files: EvaluationFiles,
    engine: Engine = "litert",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a checkpoint or a bundle on a test set, by class, device and city."""
    from ..evaluation.evaluation import EarlierEvaluation, difference, evaluate_model

    earlier = None if files.against is None else EarlierEvaluation.read(files.against)  # refused before the work
    evaluation = evaluate_model(model, data, engine=engine)
    compared = None if earlier is None else difference(evaluation, earlier)
    if files.out is not None:
        evaluation.write(files.out)
    if files.report is not None:
        from tinyscene.runtime.files import write_file

        from ..page.evaluation import render

        write_file(files.report, render(evaluation, compared))
    if as_json:
        echo_json({**asdict(evaluation), "against": compared and asdict(compared)})
        return
    for line in evaluation_lines(evaluation, compared):
        echo(line)
