"""``tinyscene quality``: quantisation error of every activation of a model, ranked by its effect on the outputs.

Measured on recordings, or on inputs of the network. Refuses both or neither, folders without audio, and recordings for
a model without a front end. Everything heavy is imported when the command runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import MAX_COUNT, AsJson, FrontEndName, InputsPath, ModelPath, Quiet

if TYPE_CHECKING:
    from tinyscene.runtime.arrays import F32
    from tinyscene.runtime.model import Model


@dataclass(frozen=True, kw_only=True)
class TypicalData:
    """What the error is measured on."""

    recordings: Annotated[
        Path | None, typer.Option("--recordings", metavar="DIR", help="Folder of typical recordings.")
    ] = None
    clips: Annotated[int, typer.Option(metavar="N", min=1, max=MAX_COUNT, help="Number of one-second clips.")] = 32
    inputs: InputsPath = None
    frontend: FrontEndName = None


@grouped
def quality(
    model: ModelPath,
    data: TypicalData,
    rows: Annotated[int, typer.Option(metavar="N", min=1, max=MAX_COUNT, help="Number of activations to show.")] = 15,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure the quantisation error of every activation, and rank them by their effect on the scores."""
    from tinyscene.runtime.model import described
    from tinyscene.runtime.terminal import echo_document, steps

    from ..errors import ExportError
    from ..formats.open_model import open_model
    from ..quantise.quality import rank_layers
    from .output import print_ranking

    if (data.recordings is None) == (data.inputs is None):
        got = "both" if data.inputs else "neither"
        raise ExportError("quality", "exactly one of --recordings and --inputs is required", got=got)
    opened = described(open_model(model), data.frontend)
    inputs = _inputs(opened, data)
    with steps("restoring", len(list(opened.graph.activations()))) as step:
        ranking = rank_layers(opened.graph, inputs, lambda done, total: step(f"{done} of {total}"))
    if as_json:
        echo_document(json.dumps({**asdict(ranking), "advice": ranking.advice()}, indent=1))
    else:
        print_ranking(opened.graph.name, ranking, rows)


def _inputs(model: Model, data: TypicalData) -> F32:
    """Real inputs float32 (n, ...) of the network: those given, or log-mels of the recordings."""
    from tinyscene.runtime.model import with_frontend
    from tinyscene.runtime.network_inputs import read_inputs
    from tinyscene.runtime.states import real_with_states, with_states

    from ..quantise.calibration import calibration_log_mels

    if data.recordings is None:
        assert data.inputs is not None
        given = read_inputs(data.inputs, model)
        return real_with_states(model.graph, given.real, with_states(model.graph, given.codes))
    return calibration_log_mels(data.recordings, with_frontend(model).frontend, data.clips)
