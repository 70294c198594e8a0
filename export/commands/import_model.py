"""``tinyscene import``: convert a published CP-Mobile checkpoint to a checkpoint of tinyscene.

Refuses files that are not such a checkpoint, existing output files without ``--overwrite``, and the checkpoint itself
as output, under whatever name. Everything heavy is imported when the command runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.options import AsJson, Overwrite
from tinyscene.runtime.terminal import echo, echo_document


def import_checkpoint(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="The 2023 winner's or the 2024/25 baseline's.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Checkpoint to write; by default NAME.pt, or NAME-imported.pt for a .pt file."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Import a published CP-Mobile checkpoint: load it safely, infer its sizes, write a tinyscene checkpoint."""
    from tinyscene.runtime.files import require_other_file
    from tinyscene.training.models.checkpoint import load_any, save_model
    from tinyscene.training.models.config import parameter_count

    from ..errors import ExportError

    ending = "-imported.pt" if checkpoint.suffix == ".pt" else ".pt"
    target = out or checkpoint.with_name(f"{checkpoint.stem}{ending}")
    require_other_file(target, checkpoint)
    if target.exists() and not overwrite:
        raise ExportError(str(target), "already exists", next_step="give --overwrite or another --out")
    loaded = load_any(checkpoint)
    save_model(target, loaded.model, loaded.config, loaded.frontend, loaded.labels, loaded.metrics)
    c, parameters = loaded.config, parameter_count(loaded.model)
    if as_json:
        record = {"path": str(target), "model": c.model_dump(mode="json"), "parameters": parameters}
        echo_document(json.dumps({**record, "frontend": loaded.frontend.name, "labels": loaded.labels}, indent=1))
        return
    echo(
        f"{target}: CP-Mobile base {c.base_channels}, multiplier {c.channels_multiplier:g}, expansion "
        f"{c.expansion_rate:g}, {'with' if c.grn else 'without'} GRN, {parameters:,} parameters, "
        f"front end {loaded.frontend.name}, {len(loaded.labels)} labels"
    )
