"""``tinyscene train``: teachers and student of a recipe, comparisons of methods, and networks of single devices."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated

import typer

from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, Quiet

from .options import Log, RunOptions, Seed, open_run
from .output import device_lines, echo, echo_document, echo_json, student_lines, teacher_lines


@grouped
def train(options: RunOptions, seed: Seed = None, log: Log = "", quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Train the teachers of a recipe, and distil its student from them."""
    from ..pipeline import train_student, train_teachers

    recipe, run = open_run(options, seed)
    soft_targets, report = None, None
    if recipe.teachers:
        soft_targets, report = train_teachers(recipe, run)
        if not as_json:
            for line in teacher_lines(report):
                echo(line)
    student = train_student(recipe, run, soft_targets=soft_targets)
    if as_json:
        record = {"model": recipe.network, "path": str(student.path), "metrics": student.metrics.to_json()}
        echo_json({"teachers": report and report.to_json(), "student": record})
        return
    for line in student_lines(recipe, student):
        echo(line)


@grouped
def train_compare(
    options: RunOptions,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Students per method, each with its own seed.")
    ] = 3,
    methods: Annotated[
        str, typer.Option("--ways", metavar="LIST", help="Comma-separated methods besides no teacher.")
    ] = "single,mean,projection,gram,fusion",
    log: Log = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare training methods in one table at equal budget and seeds.

    The methods are no teacher, one teacher, the mean of all, feature distillation, and learned fusion.
    """
    from ..method_comparison import as_markdown, compare

    recipe, run = open_run(options, None)

    def on_student(name: str, number: int, accuracy: float) -> None:
        if not quiet:
            echo(f"{name}, seed {number}: {accuracy:.1%}", err=True)

    rows = compare(
        recipe, run, seeds=range(run.seed, run.seed + seeds), names=methods.split(","), on_student=on_student
    )
    if as_json:
        echo_json([asdict(row) for row in rows])
    else:
        echo_document(as_markdown(rows))


@grouped
def train_devices(options: RunOptions, seed: Seed = None, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Fine-tune the student in a run folder for each device of the training part.

    A device keeps the general network unless its own is better on the validation part; unknown devices use the general
    network. Writes devices/NAME.pt and devices.json.
    """
    from ..device_models import FOLDER, general_model, read_general
    from ..device_models import train_devices as fine_tune
    from ..errors import TrainingError
    from ..fit.processes import is_first
    from ..pipeline import train_teachers

    folder = options.out / FOLDER
    if is_first() and folder.exists() and not options.resume:
        raise TrainingError(str(folder), "already exists", next_step="give --resume, or remove it")
    read_general(options.out)  # refused before the clips are decoded
    recipe, run = open_run(options, seed, has_student=True)
    general_model(run)  # refused before teachers are loaded
    soft_targets = None
    if recipe.teachers:
        soft_targets, _ = train_teachers(recipe.model_copy(update={"views": 0}), run)
    report = fine_tune(recipe, replace(run, resume=options.resume), soft_targets=soft_targets)
    if as_json:
        echo_json(report.to_json())
        return
    for line in device_lines(report):
        echo(line)
