"""Sub-commands of ``training``: ``tinyscene data synth`` and ``tinyscene train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    seed: Annotated[int, typer.Option(help="Seed of every place and sound.")] = 0,
    locations: Annotated[int, typer.Option(min=4, help="Places per scene; a quarter of them is for the test.")] = 20,
    clips: Annotated[int, typer.Option(min=1, help="One-second clips per place.")] = 6,
) -> None:
    """Write synthetic scenes of ten classes and nine devices in the layout of TAU22."""
    from .synth import write_tau22_layout

    counts = write_tau22_layout(out, seed=seed, locations_per_class=locations, clips_per_location=clips)
    typer.echo(f"{out}: {counts.train} clips for training, {counts.test} for the test, 10 scenes")


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe or of a CP-Mobile size, or a YAML file.")],
    data: Annotated[Path, typer.Option("--data", help="Folder in TAU22 layout.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder.")],
    seed: Annotated[int | None, typer.Option(help="Seed; the recipe's if not given.")] = None,
    subset: Annotated[int, typer.Option(help="Percentage of the training clips: 100, or N of splitN.csv.")] = 100,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the run folder.")] = False,
) -> None:
    """Train the teachers of a recipe and, distilled from them, its student."""
    from runtime.spec import preset

    from .data import Tau22
    from .errors import TrainingError
    from .pipeline import train_student, train_teachers
    from .recipe import load_recipe

    settings = load_recipe(recipe)
    opened = Tau22.open(data, subset)
    if out.exists() and any(out.iterdir()) and not resume:
        raise TrainingError(str(out), "the run folder is not empty", next_step="give --resume or another folder")
    chosen_seed = settings.seed if seed is None else seed
    dataset = opened.load(preset(settings.frontend).sample_rate_hz, out / "cache")
    soft_targets = None
    if settings.teachers:
        soft_targets, report = train_teachers(settings, dataset, out, seed=chosen_seed, resume=resume)
        for teacher in report.teachers:
            typer.echo(f"teacher {teacher.name}: test accuracy {teacher.metrics.accuracy:.1%}")
        typer.echo(f"teachers together: test accuracy {report.ensemble.accuracy:.1%}")
    student = train_student(settings, dataset, out, soft_targets=soft_targets, seed=chosen_seed, resume=resume)
    typer.echo(f"student {settings.model}: test accuracy {student.metrics.accuracy:.1%}, {student.path}")
    for name, accuracy in student.metrics.per_device.items():
        typer.echo(f"  device {name}: {accuracy:.1%}")
