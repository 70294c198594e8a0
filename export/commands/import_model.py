"""``tinyscene import``: bring a network in, as a checkpoint of tinyscene.

From a published checkpoint, or from a function of the user's own code (:mod:`tinyscene.training.models.brought`).
Refuses what the readers refuse, networks of the user that have no integer form, existing output files without
``--overwrite``, and the checkpoint itself as output, under whatever name. Everything heavy is imported when the command
runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.options import AsJson, FrontEndName, LabelsFile, Overwrite
from tinyscene.runtime.terminal import echo, echo_document, notes

from ..errors import ExportError

LARGEST_SIZE = 65_536

if TYPE_CHECKING:
    from tinyscene.training.models.checkpoint import LoadedModel


def import_checkpoint(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT|FUNCTION",
            help="A published checkpoint, or a network of your own: package.module:function, FILE.py:function.",
            show_default=False,
        ),
    ],
    input_shape: Annotated[
        str | None,
        typer.Option("--input", metavar="SHAPE", help="Input of a function's network without the batch: 1x256x64."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weights of a function's network.")
    ] = None,
    frontend: FrontEndName = None,
    labels: LabelsFile = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Checkpoint to write; by default NAME.pt, or NAME-imported.pt for a .pt file."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Import a published checkpoint, or a PyTorch network of your own: write a tinyscene checkpoint."""
    from tinyscene.runtime.files import require_other_file
    from tinyscene.training.models.checkpoint import save_model

    target = out or _beside(source)
    if not _is_function(source):
        require_other_file(target, Path(source))
    if target.exists() and not overwrite:
        raise ExportError(str(target), "already exists", next_step="give --overwrite or another --out")
    if _is_function(source):
        loaded, remarks = _from_function(source, input_shape, weights, frontend, labels)
    else:
        _refuse_for_checkpoints(
            {"--input": input_shape, "--weights": weights, "--frontend": frontend, "--labels": labels}
        )
        loaded, remarks = _from_checkpoint(Path(source)), ()
    save_model(target, loaded.model, loaded.config, loaded.frontend, loaded.labels, loaded.metrics)
    notes(source, remarks)
    if as_json:
        echo_document(json.dumps(_record(target, loaded, remarks), indent=1))
    else:
        echo(f"{target}: {_summary(loaded)}")


def _is_function(source: str) -> bool:
    """Whether a source is a name of a function, and no file."""
    return ":" in source and not Path(source).exists()


def _beside(source: str) -> Path:
    """The default output: beside a checkpoint, or in the current folder under the name of a function."""
    if _is_function(source):
        return Path(f"{source.rpartition(':')[2]}.pt")
    path = Path(source)
    return path.with_name(f"{path.stem}{'-imported.pt' if path.suffix == '.pt' else '.pt'}")


def _refuse_for_checkpoints(options: dict[str, object]) -> None:
    for option, value in options.items():
        if value is not None:
            raise ExportError(option, "applies to a function's network", next_step=f"leave out {option}")


def _from_checkpoint(path: Path) -> LoadedModel:
    from tinyscene.training.models.checkpoint import load_any

    return load_any(path)


def _from_function(
    name: str, input_shape: str | None, weights: Path | None, frontend: str | None, labels: Path | None
) -> tuple[LoadedModel, tuple[str, ...]]:
    """The network of a function, whose steps all have an integer form; and notes."""
    from tinyscene.runtime.model import read_frontend, read_labels
    from tinyscene.training.models.brought import Brought, load_brought

    from ..quantise.fold import fold

    brought = Brought(
        name,
        None if input_shape is None else _shape(input_shape),
        None if frontend is None else read_frontend(frontend),
        None if labels is None else read_labels(labels),
        weights,
    )
    loaded, remarks = load_brought(brought)
    fold(loaded.model, (loaded.frontend.n_mels, loaded.frontend.n_frames))
    return loaded, remarks


def _shape(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= LARGEST_SIZE for part in parts):
        expected = f"sizes from 1 to {LARGEST_SIZE} without the batch, such as 1x256x64"
        raise ExportError("--input", "not a shape", expected=expected, got=text)
    return tuple(map(int, parts))


def _record(target: Path, loaded: LoadedModel, remarks: tuple[str, ...]) -> dict[str, object]:
    from tinyscene.training.models.config import ModelConfig, parameter_count

    c = loaded.config
    sizes = c.model_dump(mode="json") if isinstance(c, ModelConfig) else {"input": c.input_shape, "calls": len(c.calls)}
    return {
        "path": str(target),
        "model": sizes,
        "parameters": parameter_count(loaded.model),
        "frontend": loaded.frontend.name,
        "labels": loaded.labels,
        "notes": remarks,
    }


def _summary(loaded: LoadedModel) -> str:
    from tinyscene.training.models.config import ModelConfig, parameter_count

    c = loaded.config
    network = (
        f"CP-Mobile base {c.base_channels}, multiplier {c.channels_multiplier:g}, expansion "
        f"{c.expansion_rate:g}, {'with' if c.grn else 'without'} GRN"
        if isinstance(c, ModelConfig)
        else c.name
    )
    parameters = f"{parameter_count(loaded.model):,} parameters"
    return f"{network}, {parameters}, front end {loaded.frontend.name}, {len(loaded.labels)} labels"
