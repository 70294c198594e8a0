"""``tinyscene teachers``: train the teachers of a recipe alone, and write their logits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, Quiet

from .options import Data, Log, RecipeName, RunOptions, Seed, Subset, open_run
from .output import echo, echo_json, teacher_lines


@grouped
def teachers_train(
    options: RunOptions, seed: Seed = None, log: Log = "", quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Train the teachers of a recipe and save their weights and logits.

    'tinyscene train --resume' with the same run folder then trains the student.
    """
    from ..pipeline import train_teachers

    recipe, run = open_run(options, seed)
    _, report = train_teachers(recipe, run)
    if as_json:
        echo_json(report.to_json())
        return
    for line in teacher_lines(report):
        echo(line)


def teachers_logits(
    recipe: RecipeName,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder with the trained teachers.")],
    seed: Seed = None,
    subset: Subset = 100,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the logits of trained teachers for every clip, and for every view if the recipe has views.

    They can be used to train students elsewhere.
    """
    from tinyscene.runtime.terminal import bar

    from ..teachers.ensemble import views_of
    from ..teachers.teacher import PARTS, load_teacher

    options = RunOptions(recipe=recipe, data=data, out=out, subset=subset, resume=True)
    loaded, run = open_run(options, seed)
    views = views_of(loaded, run.seed)
    records = []
    for number in bar(range(len(loaded.teachers)), "evaluating teachers"):
        teacher = load_teacher(loaded, number, run)
        clips = sum(len(teacher.logits(run.dataset, part).names) for part in PARTS)
        if views is not None:
            teacher.logits(run.dataset, "train", views)
        if not as_json:
            of_views = f", and of {loaded.views} views of the training clips" if loaded.views else ""
            digest = teacher.digest[:12]
            echo(f"{teacher.folder}: logits of {clips} clips{of_views}, teacher {teacher.name}, digest {digest}")
        record = {"teacher": teacher.name, "digest": teacher.digest, "clips": clips, "views": loaded.views}
        records.append({"folder": str(teacher.folder), **record})
    if as_json:
        echo_json(records)
