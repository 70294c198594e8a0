"""Width search: a published size is the best for its own budget, and no network of the grid is better."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.runtime.spec import Budget, preset
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.checkpoint import load_model
from tinyscene.training.models.config import MODELS, ModelConfig
from tinyscene.training.models.sizes import int8_cost
from tinyscene.training.planning.width_search import (
    BASES,
    EXPANSIONS,
    FULL,
    MULTIPLIERS,
    Candidate,
    fit_budget,
    stride_placements,
)
from tinyscene.training.recipe import load_recipe

SIZES = [name for name, config in MODELS.items() if config.arch == "cp_mobile"]


def best_for_own_budget(name: str) -> Candidate:
    config, frontend = MODELS[name], preset("cpm23" if MODELS[name].grn else "dcase25")
    n_bytes, macs = int8_cost(config, frontend)
    return fit_budget(config, frontend, Budget(n_bytes, macs))[0]


@pytest.mark.parametrize("name", SIZES)
def test_a_published_size_is_best_for_its_own_budget(name: str) -> None:
    best = best_for_own_budget(name)
    assert (best.fill, best.distance) == (1.0, 0.0)
    assert best.config == MODELS[name]


def distance_between(config: ModelConfig, like: ModelConfig, bins: int, frames: int) -> float:
    """In octaves, block by block."""

    def maps(strides: dict[str, tuple[int, int]]) -> list[tuple[int, int]]:
        size, after = (math.ceil(bins / 4), math.ceil(frames / 4)), []
        for block in ("b1", "b2", "b3", "b4", "b5", "b6"):
            freq, time = strides.get(block, (1, 1))
            size = math.ceil(size[0] / freq), math.ceil(size[1] / time)
            after.append(size)
        return after

    moved = [
        abs(math.log2(own[0] / other[0])) + abs(math.log2(own[1] / other[1]))
        for own, other in zip(maps(config.strides), maps(like.strides), strict=True)
    ]
    multipliers = abs(math.log2(config.channels_multiplier / like.channels_multiplier))
    return multipliers + abs(math.log2(config.expansion_rate / like.expansion_rate)) + sum(moved) / len(moved)


@pytest.mark.parametrize(
    ("like", "budget"), [("cpm23-32l", Budget(64_000, 10_000_000)), ("dcase25", Budget(30_000, 20_000_000))]
)
def test_no_network_of_the_grid_is_better(like: str, budget: Budget) -> None:
    """Random networks of the grid or one step from the best: none fills more, and no full one is nearer."""
    shape, frontend = MODELS[like], preset("cpm23" if MODELS[like].grn else "dcase25")
    candidates = fit_budget(shape, frontend, budget)
    for each in candidates:
        assert (each.n_bytes, each.macs) == int8_cost(each.config, frontend)
        assert each.n_bytes <= budget.max_bytes
        assert each.macs <= budget.max_macs
        expected = distance_between(each.config, shape, frontend.n_mels, frontend.n_frames)
        assert each.distance == pytest.approx(expected)
    assert [each.distance for each in candidates] == sorted(each.distance for each in candidates)
    assert len({str(each.config) for each in candidates}) == len(candidates) == 5

    rng, ways, full = np.random.default_rng(0), stride_placements(), 0
    grid = {"base_channels": BASES, "channels_multiplier": MULTIPLIERS, "expansion_rate": EXPANSIONS}
    for _ in range(3000):
        names = rng.choice([*grid, "strides"], size=rng.integers(1, 5), replace=False)
        change = {name: grid[name][rng.integers(len(grid[name]))] for name in names if name in grid}
        if "strides" in names:
            change["strides"] = dict(ways[rng.integers(len(ways))])
        config = candidates[rng.integers(5)].config.model_copy(update=change)
        n_bytes, macs = int8_cost(config, frontend)
        if n_bytes > budget.max_bytes or macs > budget.max_macs:
            continue
        fill = min(n_bytes / budget.max_bytes, macs / budget.max_macs)
        assert fill <= candidates[0].fill + FULL
        if fill >= min(each.fill for each in candidates):
            full += 1
            distance = distance_between(config, shape, frontend.n_mels, frontend.n_frames)
            assert distance >= candidates[0].distance - 1e-9
    assert full > 20


def test_an_unsatisfiable_budget_reports_the_minimum() -> None:
    with pytest.raises(TrainingError, match="2,578 B and 441,472 MACs or more"):
        fit_budget(MODELS["cpm23-8"], preset("cpm23"), Budget(2_000, 30_000_000))


def test_the_written_recipe_trains_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, mine = write_layout(tmp_path / "tau"), tmp_path / "mine.yaml"
    few = "epochs: 1, batch_size: 16, learning_rate: 1.0e-3"
    mine.write_text("{model: cpm23-16, " + few + ", teachers: [{model: {base_channels: 8}, " + few + "}]}\n")
    out = tmp_path / "fitted.yaml"
    words = ["recipe", "fit", "--max-size", "6kB", "--max-macs", "0.9M", "--like", str(mine), "--out", str(out)]
    assert command_line.main([*words, "--classes", "3", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["candidates"][0]
    assert best["bytes"] <= 6_000
    assert best["macs"] <= 900_000
    recipe = load_recipe(str(out))
    assert recipe.model_copy(update={"name": "mine", "model": "cpm23-16"}) == load_recipe(str(mine))
    assert command_line.main(["train", str(out), "--data", str(data), "--out", str(tmp_path / "run")]) == 0
    assert "student cp-mobile-8-" in capsys.readouterr().out
    student = load_model(tmp_path / "run" / "student.pt")
    assert int8_cost(student.config, student.frontend) == (best["bytes"], best["macs"])
    assert [path.name for path in (tmp_path / "run" / "teachers").iterdir() if path.is_dir()] == ["0-cp-mobile-8-2-2"]
    assert command_line.main(words) == 2
    assert "already exists" in capsys.readouterr().err
    assert command_line.main([*words[:-1], str(tmp_path / "fitted.txt")]) == 2
    assert ".yaml" in capsys.readouterr().err


def test_the_table_names_its_counting_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["recipe", "fit", "--max-size", "64kB", "--max-macs", "10M"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "like cpm23 (2.3, 3, b2 2x2, b4 2x1), front end cpm23, 256x64, 10 classes"
    assert len([line for line in lines if "%" in line]) == 5
    assert lines[-1].startswith("int8 with BatchNorm folded, rule dcase:")
