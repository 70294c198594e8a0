"""``tinyscene quality``: quantisation error of every activation of a bundle, ranked by its effect on the scores.

Refuses folders without audio. Everything heavy is imported when the command runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.options import MAX_COUNT, AsJson, BundleFolder, Quiet


def quality(
    bundle: BundleFolder,
    recordings: Annotated[Path, typer.Option("--recordings", metavar="DIR", help="Folder of typical recordings.")],
    clips: Annotated[int, typer.Option(metavar="N", min=1, max=MAX_COUNT, help="Number of one-second clips.")] = 32,
    rows: Annotated[int, typer.Option(metavar="N", min=1, max=MAX_COUNT, help="Number of activations to show.")] = 15,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure the quantisation error of every activation, and rank them by their effect on the scores."""
    from tinyscene.runtime.bundle import read_bundle
    from tinyscene.runtime.terminal import echo_document, steps

    from ..quantise.calibration import calibration_log_mels
    from ..quantise.quality import rank_layers
    from .output import print_ranking

    opened = read_bundle(bundle)
    log_mels = calibration_log_mels(recordings, opened.frontend, clips)
    with steps("restoring", len(list(opened.graph.activations()))) as step:
        ranking = rank_layers(opened.graph, log_mels, lambda done, total: step(f"{done} of {total}"))
    if as_json:
        echo_document(json.dumps({**asdict(ranking), "advice": ranking.advice()}, indent=1))
    else:
        print_ranking(opened.graph.name, ranking, rows)
