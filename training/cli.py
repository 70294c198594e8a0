"""Sub-commands of ``training``: ``tinyscene data synth``, ``train``, ``teachers`` and ``eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .data import Dataset
    from .pipeline import TeacherReport
    from .recipe import Recipe

RecipeName = Annotated[str, typer.Argument(help="Name of a recipe or of a CP-Mobile size, or a YAML file.")]
Data = Annotated[Path, typer.Option("--data", help="Folder in TAU22 layout.")]
Out = Annotated[Path, typer.Option("--out", help="Run folder.")]
Seed = Annotated[int | None, typer.Option(help="Seed; the recipe's if not given.")]
Subset = Annotated[int, typer.Option(help="Percentage of the training clips: 100, or N of splitN.csv.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the run folder.")]


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
    recipe: RecipeName, data: Data, out: Out, seed: Seed = None, subset: Subset = 100, resume: Resume = False
) -> None:
    """Train the teachers of a recipe and, distilled from them, its student."""
    from .pipeline import train_student, train_teachers

    settings, dataset, chosen_seed = _opened(recipe, data, out, seed, subset, resume)
    soft_targets = None
    if settings.teachers:
        soft_targets, report = train_teachers(settings, dataset, out, seed=chosen_seed, resume=resume)
        _say(report)
    student = train_student(settings, dataset, out, soft_targets=soft_targets, seed=chosen_seed, resume=resume)
    metrics = student.metrics
    low, high = metrics.interval
    _tell(f"student {settings.model}: test accuracy {metrics.accuracy:.1%} ({low:.1%} to {high:.1%}), {student.path}")
    _tell(f"  mean over classes {metrics.class_accuracy:.1%}, calibration error {metrics.calibration_error:.3f}")
    for name, accuracy in metrics.per_device.items():
        _tell(f"  device {name}: {accuracy:.1%}")


def train_compare(
    recipe: RecipeName,
    data: Data,
    out: Out,
    seeds: Annotated[int, typer.Option(min=1, help="Students per way to teach, each with its own seed.")] = 3,
    subset: Subset = 100,
    resume: Resume = False,
) -> None:
    """No teacher, one, their mean, a teacher's features, learned fusion: one table at equal budget and seeds."""
    from .compare import as_markdown, compare

    settings, dataset, first = _opened(recipe, data, out, None, subset, resume)
    rows = compare(
        settings,
        dataset,
        out,
        seeds=range(first, first + seeds),
        resume=resume,
        on_student=lambda name, seed, accuracy: _tell(f"{name}, seed {seed}: {accuracy:.1%}", err=True),
    )
    _tell(as_markdown(rows))


def teachers_train(
    recipe: RecipeName, data: Data, out: Out, seed: Seed = None, subset: Subset = 100, resume: Resume = False
) -> None:
    """Train the teachers of a recipe and keep weights and logits; 'train --resume' there goes on with the student."""
    from .pipeline import train_teachers

    settings, dataset, chosen_seed = _opened(recipe, data, out, seed, subset, resume)
    _, report = train_teachers(settings, dataset, out, seed=chosen_seed, resume=resume)
    _say(report)


def teachers_logits(
    recipe: RecipeName,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Run folder that holds the trained teachers.")],
    subset: Subset = 100,
) -> None:
    """Write what the trained teachers in a run folder say of every clip, for students trained elsewhere."""
    from .teachers import PARTS, load_teacher

    settings, dataset, _ = _opened(recipe, data, out, None, subset, resume=True)
    for number in range(len(settings.teachers)):
        teacher = load_teacher(settings, number, out, len(dataset.labels))
        clips = sum(len(teacher.logits(dataset, part).names) for part in PARTS)
        _tell(f"{teacher.folder}: logits of {clips} clips by {teacher.name}, digest {teacher.digest[:12]}")


def evaluate(
    model: Annotated[Path, typer.Argument(help="Checkpoint or bundle.")],
    data: Data,
    engine: Annotated[str, typer.Option(help="Engine of the runtime, for a bundle.")] = "litert",
    out: Annotated[Path | None, typer.Option("--out", help="JSON file to write, for later comparisons.")] = None,
    against: Annotated[Path | None, typer.Option("--against", help="Such a file, to compare with.")] = None,
) -> None:
    """Accuracy of a checkpoint or a bundle on the test part of a folder, by class, device and city."""
    from .evaluation import difference, evaluate_model
    from .present import evaluation_lines

    found = evaluate_model(model, data, engine=engine)
    compared = None if against is None else difference(found, against)
    if out is not None:
        found.write(out)
    for line in evaluation_lines(found, compared):
        typer.echo(line)


def _opened(
    recipe: str, data: Path, out: Path, seed: int | None, subset: int, resume: bool
) -> tuple[Recipe, Dataset, int]:
    """Recipe, decoded data and seed; refuses a run folder with something in it unless resumed."""
    from runtime.spec import preset

    from .data import Tau22
    from .errors import TrainingError
    from .processes import is_first
    from .recipe import load_recipe

    settings = load_recipe(recipe)
    opened = Tau22.open(data, subset)
    if is_first() and out.exists() and any(out.iterdir()) and not resume:
        raise TrainingError(str(out), "the run folder is not empty", next_step="give --resume or another folder")
    dataset = opened.load(preset(settings.frontend).sample_rate_hz, out / "cache")
    return settings, dataset, settings.seed if seed is None else seed


def _say(report: TeacherReport) -> None:
    for teacher in report.teachers:
        _tell(f"teacher {teacher.name}: test accuracy {teacher.metrics.accuracy:.1%}")
    _tell(f"teachers together ({report.choice}): test accuracy {report.ensemble.accuracy:.1%}")


def _tell(text: str, *, err: bool = False) -> None:
    """Print, unless another process that trains along does."""
    from .processes import is_first

    if is_first():
        typer.echo(text, err=err)
