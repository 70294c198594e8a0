"""The comparison of training methods: one row each, paired by seed and clip, differing in targets only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.layout import write_layout
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.errors import TrainingError
from tinyscene.training.method_comparison import BASELINE, Method, _row, as_markdown, compare
from tinyscene.training.recipe import Recipe, TrainSettings
from tinyscene.training.run import Run

FEW = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
RECIPE = Recipe(
    name="small",
    model="cpm23-8",
    teachers=(
        TrainSettings(model="cpresnet-33k", frontend="cpresnet", padding="torch", **FEW),
        TrainSettings(model="cpm23-8", **FEW),
    ),
    **FEW,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau", places=6, clips=1)).load(32_000, folder / "cache", progress=False)


def run_in(dataset: Dataset, folder: Path, *, resume: bool = False) -> Run:
    return Run(dataset, folder, seed=0, resume=resume, progress=False)


def test_every_method_has_a_row(dataset: Dataset, tmp_path: Path) -> None:
    students: list[tuple[str, int]] = []
    rows = compare(
        RECIPE,
        run_in(dataset, tmp_path),
        seeds=(3, 4),
        on_student=lambda name, seed, _: students.append((name, seed)),
    )
    names = [BASELINE, "single teacher", "mean", "P1 projection", "P1 gram", "P2 fusion"]
    assert [row.name for row in rows] == names
    assert students == [(name, seed) for name in names for seed in (3, 4)]
    assert rows[0].gain == 0
    assert rows[0].gain_interval == (0, 0)
    assert rows[-1].note in {"z1", "z2", "z1+z2"}
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert [row["name"] for row in record["rows"]] == names
    # Every student had the same budget: the same recipe, but for features, and the same clips.
    budgets = set()
    for path in tmp_path.glob("*/run.json"):
        run = json.loads(path.read_text())
        budgets.add(
            (run["clips"], run["frontend"], *(run["recipe"][k] for k in ("epochs", "batch_size", "learning_rate")))
        )
    assert len(budgets) == 1
    assert len(list(tmp_path.glob("*/run.json"))) == 12
    again = compare(RECIPE, run_in(dataset, tmp_path, resume=True), seeds=(3, 4))
    assert again == rows


def test_one_teacher_is_not_fused_and_none_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    alone = RECIPE.model_copy(update={"teachers": RECIPE.teachers[1:]})
    rows = compare(alone, run_in(dataset, tmp_path), seeds=(0,))
    assert "P2 fusion" not in [row.name for row in rows]
    with pytest.raises(TrainingError, match="has no teachers"):
        compare(RECIPE.model_copy(update={"teachers": ()}), run_in(dataset, tmp_path / "x"), seeds=(0,))


def test_only_the_named_methods_are_trained(dataset: Dataset, tmp_path: Path) -> None:
    rows = compare(RECIPE, run_in(dataset, tmp_path), seeds=(0,), names=("mean",))
    assert [row.name for row in rows] == [BASELINE, "mean"]
    assert not list(tmp_path.glob("teachers/*/fold-*"))
    with pytest.raises(TrainingError, match="method 'best': unknown"):
        compare(RECIPE, run_in(dataset, tmp_path, resume=True), seeds=(0,), names=("mean", "best"))


def test_gains_are_paired() -> None:
    """Places differ far more than methods do; pairing removes this variance."""
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(20), 50).astype(str)
    base = np.repeat(rng.random((1, 20)) < 0.5, 50, axis=1).astype(float)
    better = base.copy()
    better[0, ::10] = 1
    row = _row(Method("mean", "equal weights", None, RECIPE), better, base, places)
    assert row.interval[1] - row.interval[0] > 0.3
    assert 0 < row.gain_interval[0] < row.gain < row.gain_interval[1] < 0.1
    table = as_markdown([_row(Method(BASELINE, "labels only", None, RECIPE), base, base, places), row])
    assert table.count("\n") == 3
    assert f"| {100 * row.gain:+.1f} ({100 * row.gain_interval[0]:+.1f} to" in table
