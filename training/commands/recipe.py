"""``tinyscene recipe fit``: search CP-Mobile sizes for a budget, and write a recipe with the best.

Refuses a reference recipe whose student is no CP-Mobile, and budgets that no network of the grid satisfies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyscene.runtime.option_groups import grouped
from tinyscene.runtime.options import AsJson, Overwrite, Quiet, file_to_write

from .options import named_recipes
from .output import echo, echo_json

if TYPE_CHECKING:
    from ..models.config import ModelConfig
    from ..planning.width_search import Candidate
    from ..recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """Limits on the int8 network."""

    max_size: Annotated[str, typer.Option(metavar="SIZE", help="Size: 128kB (1000 B each), 125KiB, 128000.")] = "128kB"
    max_macs: Annotated[str, typer.Option(metavar="COUNT", help="MACs per clip: 30M, 29.4e6.")] = "30M"


@grouped
def fit(
    limits: BudgetOptions,
    like: Annotated[
        str,
        typer.Option(metavar="RECIPE", help="Recipe whose shape and training to keep.", autocompletion=named_recipes),
    ] = "cpm23",
    classes: Annotated[int, typer.Option(metavar="N", min=2, max=4096, help="Number of classes.")] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Recipe to write, .yaml.", callback=file_to_write())
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find CP-Mobile sizes that fill a budget of int8 bytes and MACs, similar in shape to a known recipe.

    Counts are exact, by the rule dcase with BatchNorm folded, as in 'check'. Of all networks that fill the budget, the
    most similar in multiplier, expansion and strides comes first; --out writes a recipe with it.
    """

    from tinyscene.runtime.cost import RULES, parse_count, parse_size
    from tinyscene.runtime.spec import Budget, preset

    from ..errors import TrainingError
    from ..planning.width_search import fit_budget
    from ..recipe import load_recipe

    recipe = load_recipe(like)
    budget = Budget(max_bytes=parse_size(limits.max_size), max_macs=parse_count(limits.max_macs))
    if out is not None:
        _require_new_recipe(out, overwrite)
    sizes, frontend = recipe.sizes(), preset(recipe.frontend)
    if sizes is None or sizes.arch != "cp_mobile":
        raise TrainingError(
            f"recipe '{like}'", "its student is no CP-Mobile", got=recipe.network, next_step="name another with --like"
        )
    candidates = fit_budget(sizes, frontend, budget, n_classes=classes)
    if out is not None:
        flags = f"--max-size {limits.max_size} --max-macs {limits.max_macs} --like {like}"
        _write(out, recipe, candidates[0], f"tinyscene recipe fit {flags}")
    if as_json:
        record = {"like": like, "frontend": frontend.name, "classes": classes}
        record |= {"max_bytes": budget.max_bytes, "max_macs": budget.max_macs}
        record |= {"rule": "dcase", "rule_text": RULES["dcase"]}
        echo_json({**record, "candidates": [_record(each) for each in candidates]})
        return
    shape = f"{frontend.n_mels}x{frontend.n_frames}, {classes} classes"
    echo(f"like {like} ({_shape(sizes)}), front end {frontend.name}, {shape}")
    for line in _table(candidates, budget.max_bytes, budget.max_macs):
        echo(line)
    echo(f"int8 with BatchNorm folded, rule dcase: {RULES['dcase']}")
    if out is not None:
        echo(f"{out}: recipe '{like}' with the first network")


def _require_new_recipe(out: Path, overwrite: bool) -> None:
    from ..errors import TrainingError

    if out.exists() and not overwrite:
        raise TrainingError(str(out), "already exists", next_step="give --overwrite or another --out")
    if out.suffix not in (".yaml", ".yml"):
        raise TrainingError(str(out), "not a file name of a recipe", next_step="use a name that ends in .yaml")


def model_of(candidate: Candidate) -> dict[str, object]:
    """The sizes for the field ``model`` of a recipe."""
    config = candidate.config
    return {
        "base_channels": config.base_channels,
        "channels_multiplier": config.channels_multiplier,
        "expansion_rate": config.expansion_rate,
        "grn": config.grn,
        "strides": {block: list(stride) for block, stride in config.strides.items()},
    }


def _record(candidate: Candidate) -> dict[str, object]:
    figures = {"bytes": candidate.n_bytes, "macs": candidate.macs}
    return {"model": model_of(candidate), **figures, "fill": candidate.fill, "distance_octaves": candidate.distance}


def _table(candidates: tuple[Candidate, ...], max_bytes: int, max_macs: int) -> list[str]:
    lines = ["  base  multiplier  expansion    bytes   share        MACs   share  distance  strides (freq x time)"]
    for each in candidates:
        c = each.config
        sizes = f"{c.base_channels:6d}{c.channels_multiplier:12g}{c.expansion_rate:11g}"
        size = f"{each.n_bytes:9,d}{each.n_bytes / max_bytes:8.1%}"
        macs = f"{each.macs:12,d}{each.macs / max_macs:8.1%}"
        lines.append(f"{sizes}{size}{macs}{each.distance:10.2f}  {_strides(c.strides)}")
    return lines


def _shape(config: ModelConfig) -> str:
    return f"{config.channels_multiplier:g}, {config.expansion_rate:g}, {_strides(config.strides)}"


def _strides(strides: dict[str, tuple[int, int]]) -> str:
    return ", ".join(f"{block} {freq}x{time}" for block, (freq, time) in sorted(strides.items())) or "none"


def _write(path: Path, recipe: Recipe, best: Candidate, command: str) -> None:
    import yaml

    from tinyscene.runtime.files import atomic_file
    from tinyscene.runtime.printable import printable

    rest = recipe.model_dump(mode="json", exclude_unset=True, exclude={"name", "model"})
    text = yaml.safe_dump({"model": model_of(best), **rest}, sort_keys=False, default_flow_style=None, width=110)
    head = f"# Sizes by `{printable(command)}`:\n# {best.n_bytes:,} B and {best.macs:,} MACs as int8 (rule dcase).\n"
    with atomic_file(path) as temporary:
        temporary.write_text(head + text, encoding="utf-8")
