"""``tinyscene data``: create, cut and validate folders in TAU22 layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.options import MAX_SEED, AsJson, Quiet

from .options import Subset
from .output import echo, echo_json

NewFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; it must not exist.")]


def synth(
    out: NewFolder,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MAX_SEED, help="Seed of all places and sounds.")] = 0,
    locations: Annotated[
        int, typer.Option(metavar="N", min=4, max=10_000, help="Places per scene, a quarter for the test.")
    ] = 20,
    clips: Annotated[int, typer.Option(metavar="N", min=1, max=600, help="One-second clips per place.")] = 6,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write synthetic clips of ten scenes and nine devices in TAU22 layout."""
    from ..synthetic.dataset import SyntheticSettings, write_tau22_layout

    counts = write_tau22_layout(out, SyntheticSettings(seed, locations, clips))
    if as_json:
        echo_json({"folder": str(out), "scenes": 10, "train_clips": counts.train, "test_clips": counts.test})
    else:
        echo(f"{out}: {counts.train} training clips, {counts.test} test clips, 10 scenes")


def cut(
    recordings: Annotated[
        Path, typer.Argument(metavar="RECORDINGS", help="A folder with one sub-folder of audio per scene.")
    ],
    out: NewFolder,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Cut your own recordings, SCENE/NAME.wav, into one-second clips in TAU22 layout.

    All clips of a recording belong to the same part, training or test.
    """
    from ..data.cut import cut_recordings

    counts = cut_recordings(recordings, out)
    if as_json:
        echo_json({"folder": str(out), "train_clips": counts.train, "test_clips": counts.test})
    else:
        echo(f"{out}: {counts.train} training clips, {counts.test} test clips")


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder in TAU22 layout.", show_default=False)],
    subset: Subset = 100,
    run_folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also check the caches of a run folder to resume.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Validate a dataset folder and list every fault, or its contents if there are none.

    Training refuses a folder with faults before the first step. Exit code 2 if there are any. Clips that are silent,
    clipped or otherwise doubtful are listed and no fault.
    """
    from ..data.tau22 import inspect
    from .output import inspection_lines, inspection_record

    inspection = inspect(folder, subset, run_folder)
    if as_json:
        echo_json({"folder": str(folder), "subset": subset, **inspection_record(inspection)})
    else:
        for line in inspection_lines(folder, inspection):
            echo(line)
    return 2 if inspection.faults else 0
