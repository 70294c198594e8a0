"""``tinyscene demo``: the whole chain on synthetic scenes, or on a folder in TAU22 layout.

Everything heavy is imported when the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.options import MAX_SEED, AsJson, Quiet


def demo(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Folder in TAU22 layout; synthetic scenes by default.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for all output files.")] = Path("demo-out"),
    recipe: Annotated[str, typer.Option(metavar="RECIPE", help="Name of a recipe, or a YAML file.")] = "demo",
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MAX_SEED, help="Seed of data and training.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train, distil, quantise, export, check and verify a model, and write a report.

    Exit code 1 when a target fails verification.
    """
    from .demo_chain import DemoSettings, run_demo

    if run_demo(DemoSettings(data, out, recipe, seed), as_json=as_json).failed:
        raise typer.Exit(1)
