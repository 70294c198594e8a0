"""``tinyscene recipe fit``: sizes of a student that fill a budget, and a recipe with the best of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyscene.runtime.options import AsJson, Overwrite, Quiet, in_a_folder

from .train import named_recipes

if TYPE_CHECKING:
    from ..planning.width_search import Candidate
    from ..recipe import Recipe


def fit(
    max_size: Annotated[str, typer.Option(metavar="SIZE", help="128kB (1000 B each), 125KiB, 128000.")] = "128kB",
    max_macs: Annotated[str, typer.Option(metavar="COUNT", help="Per clip: 30M, 29.4e6.")] = "30M",
    like: Annotated[
        str,
        typer.Option(metavar="RECIPE", help="Whose shape and training are kept.", autocompletion=named_recipes),
    ] = "cpm23",
    classes: Annotated[int, typer.Option(metavar="N", min=2, help="Scenes to tell apart.")] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Recipe to write, .yaml.", callback=in_a_folder)
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Propose CP-Mobile sizes that fill a budget of int8 bytes and MACs, shaped like those of a known recipe.

    Counted exactly, by the rule dcase with BatchNorm folded, as 'check' counts a bundle. Of all networks that fill the
    budget, the most similar in multiplier, expansion and strides comes first; --out writes a recipe with it.
    """
    import json

    from tinyscene.runtime.cost import RULES, parse_count, parse_size
    from tinyscene.runtime.spec import Budget, preset

    from ..errors import TrainingError
    from ..planning.width_search import fit_budget
    from ..recipe import load_recipe

    recipe, budget = load_recipe(like), Budget(max_bytes=parse_size(max_size), max_macs=parse_count(max_macs))
    if out is not None and (out.suffix not in (".yaml", ".yml") or (out.exists() and not overwrite)):
        step = "give --overwrite or another --out" if out.exists() else "end its name in .yaml"
        raise TrainingError(
            str(out), "is there already" if out.exists() else "not the name of a recipe", next_step=step
        )
    sizes, frontend = recipe.sizes(), preset(recipe.frontend)
    if sizes is None or sizes.arch != "cp_mobile":
        raise TrainingError(f"recipe '{like}'", "has no CP-Mobile for a student", got=recipe.network)
    found = fit_budget(sizes, frontend, budget, n_classes=classes)
    if out is not None:
        _write(out, recipe, found[0], f"tinyscene recipe fit --max-size {max_size} --max-macs {max_macs} --like {like}")
    if as_json:
        limits = {"max_bytes": budget.max_bytes, "max_macs": budget.max_macs}
        record = {"like": like, "frontend": frontend.name, "classes": classes, **limits, "rule": "dcase"}
        candidates = [_record(each) for each in found]
        typer.echo(json.dumps({**record, "rule_text": RULES["dcase"], "candidates": candidates}, indent=1))
        return
    shape = f"{frontend.n_mels}x{frontend.n_frames}, {classes} classes"
    typer.echo(f"like {like} ({_words(sizes)}), front end {frontend.name}, {shape}")
    for line in _table(found, budget.max_bytes, budget.max_macs):
        typer.echo(line)
    typer.echo(f"int8 with BatchNorm folded, rule dcase: {RULES['dcase']}")
    if out is not None:
        typer.echo(f"{out}: recipe '{like}' with the first of them")


def model_of(candidate: Candidate) -> dict[str, Any]:
    """Its sizes as the field ``model`` of a recipe takes them."""
    config = candidate.config
    return {
        "base_channels": config.base_channels,
        "channels_multiplier": config.channels_multiplier,
        "expansion_rate": config.expansion_rate,
        "grn": config.grn,
        "strides": {block: list(stride) for block, stride in config.strides.items()},
    }


def _record(candidate: Candidate) -> dict[str, Any]:
    figures = {"bytes": candidate.n_bytes, "macs": candidate.macs}
    return {"model": model_of(candidate), **figures, "fill": candidate.fill, "distance_octaves": candidate.distance}


def _table(found: tuple[Candidate, ...], max_bytes: int, max_macs: int) -> list[str]:
    lines = ["  base  multiplier  expansion    bytes   share        MACs   share  distance  strides (freq x time)"]
    for each in found:
        c = each.config
        sizes = f"{c.base_channels:6d}{c.channels_multiplier:12g}{c.expansion_rate:11g}"
        size = f"{each.n_bytes:9,d}{each.n_bytes / max_bytes:8.1%}"
        macs = f"{each.macs:12,d}{each.macs / max_macs:8.1%}"
        lines.append(f"{sizes}{size}{macs}{each.distance:10.2f}  {_strides(c.strides)}")
    return lines


def _words(config: Any) -> str:
    return f"{config.channels_multiplier:g}, {config.expansion_rate:g}, {_strides(config.strides)}"


def _strides(strides: dict[str, tuple[int, int]]) -> str:
    return ", ".join(f"{block} {freq}x{time}" for block, (freq, time) in sorted(strides.items())) or "none"


def _write(path: Path, recipe: Recipe, best: Candidate, command: str) -> None:
    import yaml

    from tinyscene.runtime.files import atomic_file

    rest = recipe.model_dump(mode="json", exclude_unset=True, exclude={"name", "model"})
    text = yaml.safe_dump({"model": model_of(best), **rest}, sort_keys=False, default_flow_style=None, width=110)
    head = f"# Sizes by `{command}`:\n# {best.n_bytes:,} B and {best.macs:,} MACs as int8 (rule dcase).\n"
    with atomic_file(path) as temporary:
        temporary.write_text(head + text, encoding="utf-8")
