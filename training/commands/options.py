"""Options that the training commands share, and the run that they open.

:func:`open_run` refuses a run folder that is not empty unless the run is resumed, a folder to resume that has files and
no run, and data sets with faults.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.options import MAX_SEED, some_of

from ..fit.loggers import SERVICES, log_to

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..run import Run

# What a run folder to resume has: a record of the student, a method, a teacher or a fold, or the logits of teachers.
OF_A_RUN = ("run.json", "*/run.json", "*/*/run.json", "*/*/*/run.json", "teachers/*/logits-*.npz")


def named_recipes(incomplete: str) -> list[str]:
    """Shell completion of recipe names."""
    names = [path.stem for path in (Path(__file__).parents[1] / "recipes").glob("*.yaml")]
    return [name for name in sorted(names) if name.startswith(incomplete)]


def _recipes_and_subcommands(incomplete: str) -> list[str]:
    subcommands = [name for name in ("compare", "devices") if name.startswith(incomplete)]
    return [*subcommands, *named_recipes(incomplete)]


RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="Name of a recipe or of a student, or a YAML file.",
        autocompletion=_recipes_and_subcommands,
    ),
]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder in TAU22 layout.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder.")]
Seed = Annotated[
    int | None, typer.Option(metavar="N", min=0, max=MAX_SEED, help="Seed; by default that of the recipe.")
]
Subset = Annotated[
    int,
    typer.Option(metavar="PERCENT", min=1, max=100, help="Share of the training clips: 100, or N of splitN.csv."),
]
Log = Annotated[
    str,
    typer.Option(metavar="NAMES", help="Also log to wandb, mlflow.", callback=log_to, autocompletion=some_of(SERVICES)),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What to train, on which data, and where."""

    recipe: RecipeName
    data: Data
    out: Out
    subset: Subset = 100
    resume: Resume = False


def open_run(options: RunOptions, seed: int | None, *, has_student: bool = False) -> tuple[Recipe, Run]:
    """The recipe, and the run with decoded data.

    Args:
        options: of the command line.
        seed: replaces the recipe's.
        has_student: the run folder has the student that the command starts from; whatever is beside it stays.

    Raises:
        TrainingError: the recipe or data have faults, or the run folder is not empty and has no run to resume.
    """
    from tinyscene.runtime.spec import preset

    from ..data.caches import CLIPS
    from ..data.tau22 import Tau22
    from ..fit.processes import end_with_launcher, is_first
    from ..recipe import load_recipe
    from ..run import Run

    end_with_launcher()
    recipe, out = load_recipe(options.recipe), options.out
    resume = options.resume or has_student
    if is_first() and not has_student:
        _require_run_folder(out, options.resume)
    opened = Tau22.open(options.data, options.subset, out if resume else None)
    dataset = opened.load(preset(recipe.frontend).sample_rate_hz, out / CLIPS)
    return recipe, Run(dataset, out, recipe.seed if seed is None else seed, resume)


def _require_run_folder(out: Path, resume: bool) -> None:
    from ..data.caches import CLIPS
    from ..errors import TrainingError

    # Another process of torchrun may have decoded clips and made folders already: they do not count.
    if not any(path.is_file() and CLIPS not in path.relative_to(out).parts for path in out.rglob("*")):
        return
    if not any(any(out.glob(pattern)) for pattern in OF_A_RUN):
        step = "give another folder"
        raise TrainingError(str(out), "has files, and no run to resume", expected=OF_A_RUN[0], next_step=step)
    if not resume:
        raise TrainingError(str(out), "the run folder is not empty", next_step="give --resume or another folder")
