"""The recipes for the real data run on a tiny folder, as they are but for length and sizes.

At full size they are tried out by tests/export/commands/test_dry_run.py, among the slow tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.layout import write_layout
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.pipeline import train_student, train_teachers
from tinyscene.training.recipe import Recipe, TrainSettings, load_recipe


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    opened = Tau22.open(write_layout(folder / "tau", places=5, clips=1))
    return opened.load(32_000, folder / "cache", progress=False)


def shortened(recipe: Recipe) -> Recipe:
    def short(settings: TrainSettings) -> dict[str, Any]:
        model = {"passt-s": "passt-tiny", "cpresnet-505k": "cpresnet-33k", "cpresnet-128k": "cpresnet-33k"}
        return {"epochs": 1, "batch_size": 8, "model": model.get(settings.model, settings.model)}

    changes: dict[str, Any] = {**short(recipe), "model": "cpm23-8" if recipe.model != "dcase25" else "dcase25"}
    changes["teachers"] = tuple(t.model_copy(update=short(t)) for t in recipe.teachers)
    if recipe.fusion is not None:
        listener = recipe.fusion.listener.model_copy(update={"epochs": 1, "batch_size": 8})
        changes["fusion"] = recipe.fusion.model_copy(update={"listener": listener, "folds": 2})
    return recipe.model_copy(update=changes)


@pytest.mark.parametrize("name", ["cpm23", "dcase25-baseline", "p1-dfm", "p1-ssfm", "p2-ensemble"])
def test_every_stage_runs(name: str, dataset: Dataset, tmp_path: Path) -> None:
    recipe = shortened(load_recipe(name))
    targets = None
    if recipe.teachers:
        targets, report = train_teachers(recipe, dataset, tmp_path, seed=0, progress=False)
        assert bool(report.fusion) == (name == "p2-ensemble")
    student = train_student(recipe, dataset, tmp_path, soft_targets=targets, seed=0, progress=False)
    assert ("feature_loss" in student.fit.history[0]) == name.startswith("p1-")
    assert np.isfinite(student.logits).all()
