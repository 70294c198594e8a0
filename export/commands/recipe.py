"""``tinyscene recipe dry-run``: run every stage of a recipe on a few synthetic clips, and estimate its full cost.

Refuses a part of TAU22 that does not exist. Everything heavy is imported when the command runs.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tinyscene.runtime.options import AsJson, Quiet
from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.runtime.terminal import echo, echo_document
from tinyscene.training.commands.options import Subset, named_recipes


def dry_run(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="Name of a recipe, or a YAML file.",
            autocompletion=named_recipes,
            show_default=False,
        ),
    ],
    subset: Subset = 100,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run every stage of a recipe on a few synthetic clips, and estimate its cost on TAU22.

    Reduces epochs, views, clips and batches; the stages and networks are those of the recipe.
    """
    from tinyscene.training.data.split_files import PUBLISHED_TRAIN
    from tinyscene.training.recipe import load_recipe

    from ..errors import ExportError
    from .dry_run import dry_run as run_stages
    from .dry_run import dry_run_lines

    settings = load_recipe(recipe)
    if subset not in PUBLISHED_TRAIN:
        subsets = " | ".join(map(str, PUBLISHED_TRAIN))
        raise ExportError(f"--subset {subset}", "not a subset of TAU22", expected=subsets)
    with temporary_folder("dry-run") as folder:
        result = run_stages(settings, folder, subset=subset)
    if as_json:
        echo_document(json.dumps(result.to_json(), indent=1))
        return
    for line in dry_run_lines(result):
        echo(line)
