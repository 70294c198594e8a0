"""``tinyscene export``: quantise a checkpoint to int8 and write a bundle.

Post-training (``--ptq``) from unlabelled recordings, or from inputs of a network without a front end; or
quantisation-aware training (``--qat``) on a folder in TAU22 layout. Refuses both or neither, and existing output
folders without ``--overwrite``. Everything heavy is imported when the command runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.file_names import AUDIO_ONNX_MODEL, ONNX_MODEL
from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import MAX_COUNT, MAX_SEED, AsJson, Overwrite, Quiet
from tinyscene.runtime.spec import Arithmetic
from tinyscene.runtime.terminal import echo, echo_document, notes

if TYPE_CHECKING:
    from torch import Tensor

    from tinyscene.runtime.arrays import F32
    from tinyscene.runtime.bundle import Bundle
    from tinyscene.training.models.checkpoint import LoadedModel

    from ..quantise.quantised_model import QuantisedModel

AGREEMENT, SQNR = "top1_agreement_with_float", "output_sqnr_db"  # metrics of a bundle


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """The quantisation method and its data."""

    ptq: Annotated[
        Path | None,
        typer.Option(
            "--ptq", metavar="PATH", help="Recordings for calibration, or .npy inputs of a network without a front end."
        ),
    ] = None
    qat: Annotated[
        Path | None, typer.Option("--qat", metavar="DIR", help="Folder in TAU22 layout for fine-tuning.")
    ] = None
    clips: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=MAX_COUNT, help="Number of one-second clips, or of inputs, for calibration."
        ),
    ] = 200
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MAX_COUNT, help="Epochs of --qat; the recipe's by default.")
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MAX_SEED, help="Seed of --qat.")] = 0
    frontend_arithmetic: Annotated[
        Arithmetic | None,
        typer.Option(
            metavar="float|integer", help="Arithmetic of the log-mel: float by default; integer is exact everywhere."
        ),
    ] = None


@grouped
def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A tinyscene or a published checkpoint.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Bundle folder to write.")],
    method: MethodOptions,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Quantise a checkpoint to int8, post-training (--ptq) or with training (--qat), and write a bundle."""
    from tinyscene.training.models.checkpoint import load_any

    from ..errors import ExportError
    from ..quantise.methods import post_training_from_files, quantise_aware_from_folder
    from ..quantise.quantised_model import vectors_of
    from ..write_bundle import bundle_provenance, export_bundle

    if out.exists() and not overwrite:
        raise ExportError(str(out), "already exists", next_step="give --overwrite or another --out")
    if (method.ptq is None) == (method.qat is None):
        got = "both" if method.ptq else "neither"
        raise ExportError("export", "exactly one of --ptq and --qat is required", got=got)
    loaded = _deployed(load_any(checkpoint), method.frontend_arithmetic, str(checkpoint))
    notes(str(checkpoint), loaded.notes)
    if method.ptq is not None:
        flag, source = "--ptq", method.ptq
        model, inputs = post_training_from_files(loaded, checkpoint.stem, method.ptq, method.clips)
    else:
        assert method.qat is not None
        flag, source = "--qat", method.qat
        model, inputs = quantise_aware_from_folder(
            loaded, checkpoint.stem, method.qat, clips=method.clips, epochs=method.epochs, seed=method.seed
        )
    vectors = vectors_of(inputs.values())
    figure = _compared(model, inputs, vectors)
    provenance = bundle_provenance(
        data=f"{len(vectors)} {'inputs' if loaded.frontend is None else 'clips'} of {source.name}",
        rebuild=f"tinyscene export {checkpoint.name} {flag} {source.name} --out {out.name}",
        metrics=figure,
    )
    bundle = export_bundle(out, model, vectors, provenance, overwrite=overwrite)
    notes(str(out), (*model.pruned.notes(), *_left_out(bundle)))
    if as_json:
        echo_document(_as_json(bundle, len(vectors), figure))
    else:
        echo(_summary(bundle, provenance.data, figure))


def _deployed(loaded: LoadedModel, arithmetic: Arithmetic | None, where: str) -> LoadedModel:
    """The network with its front end in the arithmetic that ships."""
    from ..errors import ExportError

    if arithmetic is None:
        return loaded
    if loaded.frontend is None:
        what = "applies to a network with a front end"
        raise ExportError("--frontend-arithmetic", what, got=where, next_step="leave out --frontend-arithmetic")
    return replace(loaded, frontend=replace(loaded.frontend, arithmetic=arithmetic))


def _left_out(bundle: Bundle) -> Iterator[str]:
    if ONNX_MODEL not in bundle.manifest.files:
        yield f"{ONNX_MODEL} is left out: ONNX has no integer LSTM"
    elif bundle.frontend is not None and AUDIO_ONNX_MODEL not in bundle.manifest.files:
        yield f"{AUDIO_ONNX_MODEL} is left out: its front end would be of float arithmetic"


def _compared(model: QuantisedModel, inputs: Mapping[str, Tensor], vectors: F32) -> dict[str, float]:
    """How close int8 is to float: predictions of a network with labels, otherwise the outputs themselves."""
    from ..quantise.quality import sqnr_db
    from ..quantise.quantised_model import float_outputs, int8_outputs

    exact, int8 = float_outputs(model.source.model, inputs), int8_outputs(model.graph, vectors)
    if model.source.labels:
        return {AGREEMENT: float((exact.argmax(1) == int8.argmax(1)).mean())}
    return {SQNR: sqnr_db(exact, int8)}


def _as_json(bundle: Bundle, count: int, figure: dict[str, float]) -> str:
    record = {
        "bundle": str(bundle.path),
        "cost": asdict(bundle.manifest.cost),
        "constant_channels_removed": bundle.constant_channels_removed,
        "constant_layers_removed": bundle.manifest.metric("constant_layers_removed"),
        "clips": count,
        **figure,
    }
    return json.dumps(record, indent=1)


def _summary(bundle: Bundle, data: str, figure: dict[str, float]) -> str:
    cost = bundle.manifest.cost
    if AGREEMENT in figure:
        close = f"int8 and float predictions agree on {figure[AGREEMENT]:.1%} of {data}"
    else:
        close = f"outputs at {figure[SQNR]:.1f} dB of the float network's on {data}"
    return (
        f"{bundle.path}: {cost.bytes:,} B of parameters, {cost.macs:,} MACs (rule {cost.rule}); "
        f"{bundle.constant_channels_removed} constant channels removed; {close}"
    )
