"""Sub-commands of ``export``: import, export, verify and demo. Everything heavy is imported when a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .verify import Verification


def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(help="Lightning checkpoint of the 2023 winner or the 2024/25 baseline.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Our checkpoint; CHECKPOINT with suffix .pt if left out.")
    ] = None,
) -> None:
    """Take over a published CP-Mobile checkpoint: read it safely, infer its sizes, write our own form."""
    from training.models.checkpoint import load_any, save_model
    from training.models.config import parameter_count

    from .errors import ExportError

    loaded = load_any(checkpoint)
    target = out or checkpoint.with_suffix(".pt")
    if target.exists():
        raise ExportError(str(target), "is there already", next_step="remove it or give another --out")
    save_model(target, loaded.model, loaded.config, loaded.frontend, loaded.labels, loaded.metrics)
    c = loaded.config
    typer.echo(
        f"{target}: CP-Mobile base {c.base_channels}, multiplier {c.channels_multiplier:g}, expansion "
        f"{c.expansion_rate:g}, {'with' if c.grn else 'without'} GRN, {parameter_count(loaded.model):,} parameters, "
        f"front end {loaded.frontend.name}, {len(loaded.labels)} labels"
    )


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of ours or a published one.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    ptq: Annotated[Path | None, typer.Option("--ptq", help="Recordings to calibrate on; labels not needed.")] = None,
    qat: Annotated[Path | None, typer.Option("--qat", help="Folder in TAU22 layout to go on training with.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="One-second clips to calibrate on.")] = 200,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of --qat; the recipe's if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of --qat.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
) -> None:
    """Quantise a checkpoint to int8, after training (--ptq) or by training on (--qat), and write a bundle."""
    from training.models.checkpoint import load_any

    from .artefact import export_bundle, float_logits, int8_logits
    from .errors import ExportError
    from .quantise import after_training, by_training

    if (ptq is None) == (qat is None):
        raise ExportError("export", "one way to int8 is needed", expected="either --ptq FOLDER or --qat FOLDER")
    if out.exists() and not overwrite:
        raise ExportError(str(out), "is there already", next_step="give --overwrite or another --out")
    loaded = load_any(checkpoint)
    if ptq is not None:
        made, log_mels = after_training(loaded, checkpoint.stem, ptq, clips)
    else:
        assert qat is not None
        made, log_mels = by_training(loaded, checkpoint.stem, qat, clips, epochs, seed)
    agreement = float(
        (float_logits(loaded.model, log_mels).argmax(1) == int8_logits(made.graph, log_mels).argmax(1)).mean()
    )
    flag, source = ("--ptq", ptq) if ptq is not None else ("--qat", qat)
    assert source is not None
    bundle = export_bundle(
        out,
        made,
        golden_log_mels=log_mels,
        metrics={"top1_agreement_with_float": agreement},
        data=f"{len(log_mels)} clips of {source.name}",
        rebuild=f"tinyscene export {checkpoint.name} {flag} {source.name} --out {out.name}",
        overwrite=overwrite,
    )
    cost = bundle.manifest["cost"]
    typer.echo(
        f"{out}: {cost['bytes']:,} B of parameters, {cost['macs']:,} MACs (rule {cost['rule']}); "
        f"{made.pruned.removed} constant channels removed; "
        f"int8 and float agree on {agreement:.1%} of {len(log_mels)} clips of {source.name}"
    )


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder in TAU22 layout: accuracy on its test part.")
    ] = None,
    targets: Annotated[str, typer.Option(help="Comma-separated names, or 'all'.")] = "all",
    clips: Annotated[int | None, typer.Option(min=1, help="At most so many test clips.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Run every target on the bundle's golden vectors, compare every byte, name the first difference."""
    from runtime.bundle import read_bundle

    from .labelled import labelled_codes
    from .present import print_verification, progress
    from .verify import TARGETS, verify_bundle

    opened = read_bundle(bundle)
    names = tuple(TARGETS) if targets == "all" else tuple(targets.split(","))
    labelled = labelled_codes(opened, data, clips) if data else None
    with progress("verifying", len(names)) as step:
        result = verify_bundle(opened, targets=names, labelled=labelled, on_target=step)
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=1))
    else:
        print_verification(result)
    _exit_on_failure(result)


def _exit_on_failure(result: Verification) -> None:
    if result.failed:
        raise typer.Exit(1)


def demo(
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder in TAU22 layout; synthetic scenes if left out.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path("demo-out"),
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file.")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed of data and training.")] = 0,
) -> None:
    """The whole chain: data, teachers, student, QAT, bundle, check, verify on every target, report, closing table."""
    from .demo import run_demo

    result = run_demo(data, out, recipe=recipe, seed=seed)
    _exit_on_failure(result)
