"""``tinyscene import``: bring a network in, as a checkpoint of tinyscene.

From a published checkpoint, a float ONNX file, or a function of the user's own code
(:mod:`tinyscene.training.models.brought`). Refuses what the readers refuse, networks made elsewhere that have no
integer form, existing output files without ``--overwrite``, and the source itself as output, under whatever name.
Everything heavy is imported when the command runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, FrontEndName, LabelsFile, Overwrite, Quiet
from tinyscene.runtime.terminal import echo, echo_document, notes

from ..errors import ExportError

LARGEST_SIZE = 2**22  # of an input along one axis
NO_FRONT_END = "none"  # in place of a preset's name

if TYPE_CHECKING:
    from tinyscene.training.models.brought import Brought
    from tinyscene.training.models.checkpoint import LoadedModel
    from tinyscene.training.models.config import ModelConfig
    from tinyscene.training.models.program import Program


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What a network made elsewhere does not hold itself, as it is given."""

    input_shapes: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="SHAPE", help="Input of a function's network without the batch: 3x96x96."),
    ] = None
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weights of a function's network.")
    ] = None
    prefix: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Words before the network's own names, where a file holds several networks."),
    ] = None
    frontend: FrontEndName = None
    labels: LabelsFile = None

    def brought(self) -> Brought:
        from tinyscene.runtime.model import read_frontend, read_labels
        from tinyscene.training.models.brought import Brought

        return Brought(
            tuple(map(_shape, self.input_shapes or ())),
            None if self.frontend in (None, NO_FRONT_END) else read_frontend(self.frontend),
            None if self.labels is None else read_labels(self.labels),
            without_frontend=self.frontend == NO_FRONT_END,
        )

    def refuse(self, options: str, where: str) -> None:
        """Refuse options that do not apply to a kind of source."""
        for option in options.split():
            if getattr(self, option) is not None:
                name = "--" + option.removesuffix("_shapes")
                raise ExportError(name, f"does not apply to {where}", next_step=f"leave out {name}")


@grouped
def import_checkpoint(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A published checkpoint, a float .onnx file, package.module:function or FILE.py:function.",
            show_default=False,
        ),
    ],
    given: NetworkOptions,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Checkpoint to write; by default NAME.pt, or NAME-imported.pt for a .pt file."
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Import a published checkpoint, a float ONNX file or a network of your own code as a tinyscene checkpoint."""
    from tinyscene.runtime.files import require_other_file
    from tinyscene.training.models.checkpoint import save_model

    target = out or _beside(source)
    if not _is_function(source):
        require_other_file(target, Path(source))
    if target.exists() and not overwrite:
        raise ExportError(str(target), "already exists", next_step="give --overwrite or another --out")
    loaded, remarks = _function(source, given) if _is_function(source) else _file(Path(source), given)
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


def _function(name: str, given: NetworkOptions) -> tuple[LoadedModel, tuple[str, ...]]:
    from tinyscene.training.models.brought import load_function

    if given.weights is None:
        given.refuse("prefix", "a function without --weights")
    return _with_integer_form(*load_function(name, given.brought(), given.weights, given.prefix))


def _file(path: Path, given: NetworkOptions) -> tuple[LoadedModel, tuple[str, ...]]:
    from tinyscene.training.models.checkpoint import load_any

    from ..formats.model_kind import model_kind

    if model_kind(path) == "onnx":
        given.refuse("weights input_shapes prefix", "an ONNX file, which has its own")
        return _with_integer_form(*_onnx(path, given))
    given.refuse("weights input_shapes", "a checkpoint")
    loaded = load_any(path, prefix=given.prefix, frontend=given.frontend, labels=given.labels)
    return loaded, loaded.notes


def _onnx(path: Path, given: NetworkOptions) -> tuple[LoadedModel, tuple[str, ...]]:
    from tinyscene.runtime.bounded_files import read_model
    from tinyscene.training.models.brought import bring

    from ..formats.missing_package import needs_export

    with needs_export(str(path)):
        from ..float_onnx import onnx_network
    network = onnx_network(read_model(path), str(path))
    return bring(network, replace(given.brought(), input_shapes=tuple(end.shape for end in network.program.inputs)))


def _with_integer_form(loaded: LoadedModel, remarks: tuple[str, ...]) -> tuple[LoadedModel, tuple[str, ...]]:
    """The same network; raises ExportError if one of its operators has no integer form."""
    from ..quantise.fold import fold

    fold(loaded.model, loaded.input_shapes)
    return loaded, remarks


def _shape(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= LARGEST_SIZE for part in parts):
        expected = f"sizes from 1 to {LARGEST_SIZE} without the batch, such as 3x96x96"
        raise ExportError("--input", "not a shape", expected=expected, got=text)
    return tuple(map(int, parts))


def _record(target: Path, loaded: LoadedModel, remarks: tuple[str, ...]) -> dict[str, object]:
    from tinyscene.training.models.config import ModelConfig, parameter_count

    c = loaded.config
    sizes = c.model_dump(mode="json") if isinstance(c, ModelConfig) else _ends(c)
    return {
        "path": str(target),
        "model": sizes,
        "parameters": parameter_count(loaded.model),
        "frontend": None if loaded.frontend is None else loaded.frontend.name,
        "labels": loaded.labels,
        "notes": remarks,
    }


def _ends(program: Program) -> dict[str, object]:
    """Inputs and outputs with their shapes, and the number of calls."""
    ends = {"inputs": program.inputs, "outputs": program.outputs}
    shapes = {name: {end.name: end.shape for end in each} for name, each in ends.items()}
    return {**shapes, "calls": len(program.calls)}


def _summary(loaded: LoadedModel) -> str:
    from tinyscene.training.models.config import ModelConfig, parameter_count

    c = loaded.config
    network = _sizes(c) if isinstance(c, ModelConfig) else c.name
    parameters = f"{parameter_count(loaded.model):,} parameters"
    if loaded.frontend is not None:
        return f"{network}, {parameters}, front end {loaded.frontend.name}, {len(loaded.labels)} labels"
    assert not isinstance(c, ModelConfig)
    ends = (" and ".join("x".join(map(str, end.shape)) for end in each) for each in (c.inputs, c.outputs))
    labels = f", {len(loaded.labels)} labels" if loaded.labels else ""
    return f"{network}, {parameters}, {' to '.join(ends)}{labels}"


def _sizes(c: ModelConfig) -> str:
    if c.arch == "cp_resnet":
        blocks = "/".join(map(str, c.blocks_per_stage))
        return f"CP-ResNet base {c.base_channels}, rho {c.rho}, blocks {blocks}"
    if c.arch == "cp_mobile":
        rates = f"multiplier {c.channels_multiplier:g}, expansion {c.expansion_rate:g}"
        return f"CP-Mobile base {c.base_channels}, {rates}, {'with' if c.grn else 'without'} GRN"
    return c.name
