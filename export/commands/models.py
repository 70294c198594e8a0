"""Sub-commands of ``export``: import, export, quality, demo. Everything heavy is imported when a command runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tinyscene.runtime.options import AsJson, BundleFolder, Overwrite, Quiet
from tinyscene.training.commands.train import Subset, named_recipes


def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Of the 2023 winner or the 2024/25 baseline.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Our checkpoint; CHECKPOINT as .pt by default.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Take over a published CP-Mobile checkpoint: read it safely, infer its sizes, write our own form."""
    from tinyscene.training.models.checkpoint import load_any, save_model
    from tinyscene.training.models.config import parameter_count

    from ..errors import ExportError

    loaded = load_any(checkpoint)
    target = out or checkpoint.with_suffix(".pt")
    if target.exists() and not overwrite:
        raise ExportError(str(target), "is there already", next_step="give --overwrite or another --out")
    save_model(target, loaded.model, loaded.config, loaded.frontend, loaded.labels, loaded.metrics)
    c, parameters = loaded.config, parameter_count(loaded.model)
    if as_json:
        made = {"path": str(target), "model": asdict(c), "parameters": parameters}
        typer.echo(json.dumps({**made, "frontend": loaded.frontend.name, "labels": loaded.labels}, indent=1))
        return
    typer.echo(
        f"{target}: CP-Mobile base {c.base_channels}, multiplier {c.channels_multiplier:g}, expansion "
        f"{c.expansion_rate:g}, {'with' if c.grn else 'without'} GRN, {parameters:,} parameters, "
        f"front end {loaded.frontend.name}, {len(loaded.labels)} labels"
    )


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Of ours or a published one.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Bundle folder to write.")],
    ptq: Annotated[
        Path | None, typer.Option("--ptq", metavar="DIR", help="Recordings to calibrate on; labels not needed.")
    ] = None,
    qat: Annotated[
        Path | None, typer.Option("--qat", metavar="DIR", help="Folder in TAU22 layout to go on training with.")
    ] = None,
    clips: Annotated[int, typer.Option(metavar="N", min=1, help="One-second clips to calibrate on.")] = 200,
    epochs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Of --qat; the recipe's by default.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of --qat.")] = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Quantise a checkpoint to int8, after training (--ptq) or by training on (--qat), and write a bundle."""
    from tinyscene.training.models.checkpoint import load_any

    from ..errors import ExportError
    from ..quantise.export import float_logits, int8_logits
    from ..quantise.methods import after_training, by_training
    from ..write_bundle import export_bundle

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
    cost, removed = bundle.manifest.cost, made.pruned.removed
    if as_json:
        record = {
            "bundle": str(out),
            "cost": asdict(cost),
            "constant_channels_removed": removed,
            "clips": len(log_mels),
            "top1_agreement_with_float": agreement,
        }
        typer.echo(json.dumps(record, indent=1))
        return
    typer.echo(
        f"{out}: {cost.bytes:,} B of parameters, {cost.macs:,} MACs (rule {cost.rule}); "
        f"{removed} constant channels removed; "
        f"int8 and float agree on {agreement:.1%} of {len(log_mels)} clips of {source.name}"
    )


def dry_run(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="By name, or a YAML file.", autocompletion=named_recipes)
    ],
    subset: Subset = 100,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Try a recipe out on a few made-up clips, every stage of it, and estimate what it costs on all of TAU22.

    Nothing but epochs, views, clips and batches is cut.
    """
    import tempfile

    from tinyscene.training.data.split_files import PUBLISHED_TRAIN
    from tinyscene.training.recipe import load_recipe

    from ..errors import ExportError
    from .dry_run import dry_run as tried
    from .dry_run import dry_run_lines

    settings = load_recipe(recipe)
    if subset not in PUBLISHED_TRAIN:
        known = " | ".join(map(str, PUBLISHED_TRAIN))
        raise ExportError(f"--subset {subset}", "no part of TAU22", expected=known)
    with tempfile.TemporaryDirectory(prefix="tinyscene-") as folder:
        found = tried(settings, Path(folder), subset=subset)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    for line in dry_run_lines(found):
        typer.echo(line)


def quality(
    bundle: BundleFolder,
    recordings: Annotated[Path, typer.Option("--recordings", metavar="DIR", help="Audio such as the model will hear.")],
    clips: Annotated[int, typer.Option(metavar="N", min=1, help="One-second clips to look at.")] = 32,
    rows: Annotated[int, typer.Option(metavar="N", min=1, help="Activations to show, the costliest first.")] = 15,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """What 8 bits cost: error and saturation of each activation, ranked by what restoring it to float would gain."""
    from tinyscene.runtime.bundle import read_bundle
    from tinyscene.runtime.terminal import steps

    from ..quantise.calibration import calibration_log_mels
    from ..quantise.quality import rank_layers
    from .output import print_ranking

    opened = read_bundle(bundle)
    log_mels = calibration_log_mels(recordings, opened.frontend, clips)
    with steps("restoring", len(list(opened.graph.activations()))) as step:
        ranking = rank_layers(opened.graph, log_mels, lambda done, total: step(f"{done} of {total}"))
    if as_json:
        typer.echo(json.dumps({**asdict(ranking), "advice": ranking.advice()}, indent=1))
    else:
        print_ranking(opened.graph.name, ranking, rows)


def demo(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Folder in TAU22 layout; synthetic scenes by default.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="For everything that is made.")] = Path("demo-out"),
    recipe: Annotated[str, typer.Option(metavar="RECIPE", help="By name, or a YAML file.")] = "demo",
    seed: Annotated[int, typer.Option(metavar="N", help="Of data and training.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """The whole chain: data, teachers, student, QAT, bundle, check, verify on every target, report, closing table."""
    from .demo import run_demo

    if run_demo(data, out, recipe=recipe, seed=seed, as_json=as_json).failed:
        raise typer.Exit(1)
