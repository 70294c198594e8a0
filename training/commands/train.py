"""Sub-commands of ``training``: ``tinyscene data``, ``train``, ``teachers`` and ``eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.options import AsJson, Engine, Quiet, RecordFile, ReportFile, some_of

from ..fit.loggers import SERVICES, log_to

if TYPE_CHECKING:
    from ..data.tau22 import Dataset
    from ..pipeline import TeacherReport
    from ..recipe import Recipe


def named_recipes(incomplete: str) -> list[str]:
    """For completion: the recipes by name."""
    names = [path.stem for path in (Path(__file__).parents[1] / "recipes").glob("*.yaml")]
    return [name for name in sorted(names) if name.startswith(incomplete)]


def _recipes_and_members(incomplete: str) -> list[str]:
    members = [name for name in ("compare", "devices") if name.startswith(incomplete)]
    return [*members, *named_recipes(incomplete)]


RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe or a CP-Mobile size by name, or a YAML file.",
        autocompletion=_recipes_and_members,
    ),
]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder in TAU22 layout.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="The recipe's if not given.")]
Subset = Annotated[int, typer.Option(metavar="PERCENT", help="Of the training clips: 100, or N of splitN.csv.")]
Log = Annotated[
    str,
    typer.Option(metavar="NAMES", help="Log to wandb, mlflow too.", callback=log_to, autocompletion=some_of(SERVICES)),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the run folder.")]


def synth(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; it must not exist.")],
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of every place and sound.")] = 0,
    locations: Annotated[int, typer.Option(metavar="N", min=4, help="Places per scene, a quarter for the test.")] = 20,
    clips: Annotated[int, typer.Option(metavar="N", min=1, help="One-second clips per place.")] = 6,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write synthetic scenes of ten classes and nine devices in the layout of TAU22."""
    from ..synthetic.dataset import write_tau22_layout

    counts = write_tau22_layout(out, seed=seed, locations_per_class=locations, clips_per_location=clips)
    if as_json:
        _tell_json({"folder": str(out), "scenes": 10, "train_clips": counts.train, "test_clips": counts.test})
    else:
        _tell(f"{out}: {counts.train} clips for training, {counts.test} for the test, 10 scenes")


def cut(
    recordings: Annotated[
        Path, typer.Argument(metavar="RECORDINGS", help="A folder with one folder of audio for each scene.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; it must not exist.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Cut your own recordings, SCENE/NAME.wav, into one-second clips in the layout of TAU22.

    All clips of a recording go to training, or all to the test.
    """
    from ..data.cut import cut_recordings

    counts = cut_recordings(recordings, out)
    if as_json:
        _tell_json({"folder": str(out), "train_clips": counts.train, "test_clips": counts.test})
    else:
        _tell(f"{out}: {counts.train} clips for training, {counts.test} for the test")


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder in TAU22 layout.", show_default=False)],
    subset: Subset = 100,
    run_folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A run to go on with: are its caches of these clips?")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Everything that is wrong with a folder of clips, or what it holds if nothing is.

    Training refuses a folder with any of it before the first step. Ends in 2 if there is any.
    """
    from ..data.tau22 import inspect
    from .output import inspection_lines, inspection_record

    found = inspect(folder, subset, run_folder)
    if as_json:
        _tell_json({"folder": str(folder), "subset": subset, **inspection_record(found)})
    else:
        for line in inspection_lines(folder, found):
            _tell(line)
    return 2 if found.faults else 0


def train(
    recipe: RecipeName,
    data: Data,
    out: Out,
    seed: Seed = None,
    subset: Subset = 100,
    resume: Resume = False,
    log: Log = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train the teachers of a recipe and, distilled from them, its student."""
    from ..pipeline import train_student, train_teachers

    settings, dataset, chosen_seed = _opened(recipe, data, out, seed, subset, resume)
    soft_targets, report = None, None
    if settings.teachers:
        soft_targets, report = train_teachers(settings, dataset, out, seed=chosen_seed, resume=resume)
        if not as_json:
            _say(report)
    student = train_student(settings, dataset, out, soft_targets=soft_targets, seed=chosen_seed, resume=resume)
    metrics = student.metrics
    if as_json:
        taught = {"model": settings.network, "path": str(student.path), "metrics": metrics.to_json()}
        _tell_json({"teachers": report and report.to_json(), "student": taught})
        return
    low, high = metrics.interval
    _tell(f"student {settings.network}: test accuracy {metrics.accuracy:.1%} ({low:.1%} to {high:.1%}), {student.path}")
    _tell(f"  mean over classes {metrics.class_accuracy:.1%}, calibration error {metrics.calibration_error:.3f}")
    for name, accuracy in metrics.per_device.items():
        _tell(f"  device {name}: {accuracy:.1%}")


def train_compare(
    recipe: RecipeName,
    data: Data,
    out: Out,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Students per way, each with its own seed.")] = 3,
    ways: Annotated[
        str, typer.Option(metavar="LIST", help="Which to train beside no teacher.")
    ] = "single,mean,projection,gram,fusion",
    subset: Subset = 100,
    resume: Resume = False,
    log: Log = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """No teacher, one, their mean, a teacher's features, learned fusion: one table at equal budget and seeds."""
    from dataclasses import asdict

    from ..method_comparison import as_markdown, compare

    settings, dataset, first = _opened(recipe, data, out, None, subset, resume)

    def on_student(name: str, number: int, accuracy: float) -> None:
        if not quiet:
            _tell(f"{name}, seed {number}: {accuracy:.1%}", err=True)

    numbers = range(first, first + seeds)
    names = ways.split(",")
    rows = compare(settings, dataset, out, seeds=numbers, names=names, resume=resume, on_student=on_student)
    if as_json:
        _tell_json([asdict(row) for row in rows])
    else:
        _tell(as_markdown(rows))


def train_devices(
    recipe: RecipeName,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder of 'train', with its student.")],
    seed: Seed = None,
    subset: Subset = 100,
    resume: Resume = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a student on for each device of the training part; other devices keep the general network.

    A device keeps it too unless its own is better on the validation part. Writes devices/NAME.pt and devices.json.
    """
    from ..device_models import FOLDER, general_model, read_general
    from ..device_models import train_devices as train_on
    from ..errors import TrainingError
    from ..fit.processes import is_first
    from ..pipeline import train_teachers
    from .output import device_lines

    if is_first() and (out / FOLDER).exists() and not resume:
        raise TrainingError(str(out / FOLDER), "is there already", next_step="give --resume, or remove it")
    read_general(out)  # refused before the clips are decoded
    settings, dataset, chosen_seed = _opened(recipe, data, out, seed, subset, resume=True)
    general_model(out, dataset)  # refused before teachers are looked for
    soft_targets = None
    if settings.teachers:
        as_they_are = settings.model_copy(update={"views": 0})
        soft_targets, _ = train_teachers(as_they_are, dataset, out, seed=chosen_seed, resume=True)
    report = train_on(settings, dataset, out, soft_targets=soft_targets, seed=chosen_seed, resume=resume)
    if as_json:
        _tell_json(report.to_json())
        return
    for line in device_lines(report):
        _tell(line)


def teachers_train(
    recipe: RecipeName,
    data: Data,
    out: Out,
    seed: Seed = None,
    subset: Subset = 100,
    resume: Resume = False,
    log: Log = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train the teachers of a recipe and keep weights and logits; 'train --resume' there goes on with the student."""
    from ..pipeline import train_teachers

    settings, dataset, chosen_seed = _opened(recipe, data, out, seed, subset, resume)
    _, report = train_teachers(settings, dataset, out, seed=chosen_seed, resume=resume)
    if as_json:
        _tell_json(report.to_json())
    else:
        _say(report)


def teachers_logits(
    recipe: RecipeName,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder that holds the trained teachers.")],
    seed: Seed = None,
    subset: Subset = 100,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write what the trained teachers in a run folder say of every clip, and of every view, if the recipe has some.

    For students trained elsewhere.
    """
    from tinyscene.runtime.terminal import bar

    from ..teachers.ensemble import views_of
    from ..teachers.teacher import PARTS, load_teacher

    settings, dataset, chosen_seed = _opened(recipe, data, out, seed, subset, resume=True)
    views = views_of(settings, chosen_seed)
    written = []
    for number in bar(range(len(settings.teachers)), "asking teachers"):
        teacher = load_teacher(settings, number, out, len(dataset.labels))
        clips = sum(len(teacher.logits(dataset, part).names) for part in PARTS)
        if views is not None:
            teacher.logits(dataset, "train", views)
        if not as_json:
            of_views = f", and of {settings.views} views of those for training" if settings.views else ""
            _tell(
                f"{teacher.folder}: logits of {clips} clips{of_views} by {teacher.name}, digest {teacher.digest[:12]}"
            )
        found = {"teacher": teacher.name, "digest": teacher.digest, "clips": clips, "views": settings.views}
        written.append({"folder": str(teacher.folder), **found})
    if as_json:
        _tell_json(written)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint, or a bundle folder.")],
    data: Data,
    engine: Engine = "litert",
    out: RecordFile = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Such a file, to compare with.")
    ] = None,
    report: ReportFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Accuracy of a checkpoint or a bundle on the test part of a folder, by class, device and city."""
    from dataclasses import asdict

    from ..evaluation.evaluation import difference, evaluate_model
    from .output import evaluation_lines

    found = evaluate_model(model, data, engine=engine)
    compared = None if against is None else difference(found, against)
    if out is not None:
        found.write(out)
    if report is not None:
        from tinyscene.runtime.files import written_whole

        from ..page.evaluation import render

        with written_whole(report) as temporary:
            temporary.write_bytes(render(found, compared))
    if as_json:
        _tell_json({**asdict(found), "against": compared and asdict(compared)})
        return
    for line in evaluation_lines(found, compared):
        _tell(line)


def _opened(
    recipe: str, data: Path, out: Path, seed: int | None, subset: int, resume: bool
) -> tuple[Recipe, Dataset, int]:
    """Recipe, decoded data and seed; refuses a run folder with something in it unless resumed."""
    from tinyscene.runtime.spec import preset

    from ..data.caches import CLIPS
    from ..data.tau22 import Tau22
    from ..errors import TrainingError
    from ..fit.processes import is_first
    from ..recipe import load_recipe

    settings = load_recipe(recipe)
    opened = Tau22.open(data, subset, out if resume else None)
    # Another process of torchrun may have decoded clips into the folder already, so the clips do not count.
    is_used = out.exists() and any(entry.name != CLIPS for entry in out.iterdir())
    if is_first() and is_used and not resume:
        raise TrainingError(str(out), "the run folder is not empty", next_step="give --resume or another folder")
    dataset = opened.load(preset(settings.frontend).sample_rate_hz, out / CLIPS)
    return settings, dataset, settings.seed if seed is None else seed


def _say(report: TeacherReport) -> None:
    for teacher in report.teachers:
        _tell(f"teacher {teacher.name}: test accuracy {teacher.metrics.accuracy:.1%}")
    _tell(f"teachers together ({report.choice}): test accuracy {report.ensemble.accuracy:.1%}")


def _tell(text: str, *, err: bool = False) -> None:
    """Print, unless another process that trains along does."""
    from ..fit.processes import is_first

    if is_first():
        typer.echo(text, err=err)


def _tell_json(record: object) -> None:
    import json

    _tell(json.dumps(record, indent=1))
