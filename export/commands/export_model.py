"""``tinyscene export``: quantise a checkpoint to int8 and write a bundle.

Post-training (``--ptq``) from unlabelled recordings, or quantisation-aware training (``--qat``) on a folder in TAU22
layout. Refuses both or neither, and existing output folders without ``--overwrite``. Everything heavy is imported when
the command runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import MAX_COUNT, MAX_SEED, AsJson, Overwrite, Quiet
from tinyscene.runtime.terminal import echo, echo_document, notes

if TYPE_CHECKING:
    from tinyscene.runtime.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """The quantisation method and its data."""

    ptq: Annotated[
        Path | None, typer.Option("--ptq", metavar="DIR", help="Recordings for calibration; no labels needed.")
    ] = None
    qat: Annotated[
        Path | None, typer.Option("--qat", metavar="DIR", help="Folder in TAU22 layout for fine-tuning.")
    ] = None
    clips: Annotated[
        int, typer.Option(metavar="N", min=1, max=MAX_COUNT, help="Number of one-second calibration clips.")
    ] = 200
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MAX_COUNT, help="Epochs of --qat; the recipe's by default.")
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MAX_SEED, help="Seed of --qat.")] = 0


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
    from ..quantise.methods import post_training_from_recordings, quantise_aware_from_folder
    from ..quantise.quantised_model import float_logits, int8_logits
    from ..write_bundle import bundle_provenance, export_bundle

    if out.exists() and not overwrite:
        raise ExportError(str(out), "already exists", next_step="give --overwrite or another --out")
    if (method.ptq is None) == (method.qat is None):
        got = "both" if method.ptq else "neither"
        raise ExportError("export", "exactly one of --ptq and --qat is required", got=got)
    loaded = load_any(checkpoint)
    notes(str(checkpoint), loaded.notes)
    if method.ptq is not None:
        flag, source = "--ptq", method.ptq
        model, log_mels = post_training_from_recordings(loaded, checkpoint.stem, method.ptq, method.clips)
    else:
        assert method.qat is not None
        flag, source = "--qat", method.qat
        model, log_mels = quantise_aware_from_folder(
            loaded, checkpoint.stem, method.qat, clips=method.clips, epochs=method.epochs, seed=method.seed
        )
    predictions = float_logits(loaded.model, log_mels).argmax(1), int8_logits(model.graph, log_mels).argmax(1)
    agreement = float((predictions[0] == predictions[1]).mean())
    provenance = bundle_provenance(
        data=f"{len(log_mels)} clips of {source.name}",
        rebuild=f"tinyscene export {checkpoint.name} {flag} {source.name} --out {out.name}",
        metrics={"top1_agreement_with_float": agreement},
    )
    bundle = export_bundle(out, model, log_mels, provenance, overwrite=overwrite)
    notes(str(out), model.pruned.notes())
    if as_json:
        echo_document(_as_json(bundle, len(log_mels), agreement))
    else:
        echo(_summary(bundle, provenance.data, agreement))


def _as_json(bundle: Bundle, clips: int, agreement: float) -> str:
    record = {
        "bundle": str(bundle.path),
        "cost": asdict(bundle.manifest.cost),
        "constant_channels_removed": bundle.constant_channels_removed,
        "constant_layers_removed": bundle.manifest.metric("constant_layers_removed"),
        "clips": clips,
        "top1_agreement_with_float": agreement,
    }
    return json.dumps(record, indent=1)


def _summary(bundle: Bundle, data: str, agreement: float) -> str:
    cost = bundle.manifest.cost
    return (
        f"{bundle.path}: {cost.bytes:,} B of parameters, {cost.macs:,} MACs (rule {cost.rule}); "
        f"{bundle.constant_channels_removed} constant channels removed; "
        f"int8 and float predictions agree on {agreement:.1%} of {data}"
    )
