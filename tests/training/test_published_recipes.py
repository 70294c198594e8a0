"""The published recipes on a tiny folder, unchanged except for length and sizes.

The slow tests in tests/export/commands/test_dry_run.py run them at full size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.layout import write_layout
from tests.training.models.own_networks import own_student
from tinyscene.export.quantise.calibration import network_images
from tinyscene.export.quantise.methods import quantise_post_training
from tinyscene.export.quantise.quantised_model import float_outputs
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.checkpoint import load_model, load_pretrained
from tinyscene.training.models.program import Program
from tinyscene.training.pipeline import train_student, train_teachers
from tinyscene.training.recipe import Recipe, TrainSettings, load_recipe
from tinyscene.training.run import Run


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
    targets, run = None, Run(dataset, tmp_path, seed=0, progress=False)
    if recipe.teachers:
        targets, report = train_teachers(recipe, run)
        assert bool(report.fusion) == (name == "p2-ensemble")
    student = train_student(recipe, run, soft_targets=targets)
    assert ("feature_loss" in student.fit.history[0]) == name.startswith("p1-")
    assert np.isfinite(student.logits).all()


def test_a_network_of_the_user_is_a_student(dataset: Dataset, tmp_path: Path) -> None:
    """Trained with a feature loss; its checkpoint needs no code of the user and answers as the network."""
    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    recipe = Recipe.model_validate(
        {
            **settings,
            "name": "mine",
            "model": "tests.training.models.own_networks:own_student",
            "features": {"student_stage": "stem", "teacher_stage": "stages.s3"},
            "teachers": [{**settings, "model": "cpm23-8"}],
        }
    )
    run = Run(dataset, tmp_path, seed=0, progress=False)
    targets, _ = train_teachers(recipe, run)
    student = train_student(recipe, run, soft_targets=targets)
    assert "feature_loss" in student.fit.history[0]
    stored = load_model(student.path)
    assert isinstance(stored.config, Program)
    clips = network_images(np.random.default_rng(0).normal(size=(4, 256, 65)).astype(np.float32))
    np.testing.assert_allclose(float_outputs(stored.model, clips), float_outputs(student.model, clips), atol=1e-5)
    graph = quantise_post_training(stored, "mine", clips).graph
    assert graph.labels == dataset.labels
    again = own_student(len(dataset.labels))
    load_pretrained(student.path, again)
    for name, tensor in again.state_dict().items():
        torch.testing.assert_close(tensor, student.model.state_dict()[name])


def test_a_student_without_an_integer_form_is_refused_before_a_teacher_trains(dataset: Dataset, tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    teacher = {**settings, "model": "cpm23-8"}
    model = "tests.training.models.own_networks:spectral_student"
    recipe = Recipe.model_validate({**settings, "name": "mine", "model": model, "teachers": [teacher]})
    with pytest.raises(TrainingError, match="operator 'fft_rfft' has no integer form"):
        train_teachers(recipe, Run(dataset, tmp_path, seed=0, progress=False))
    assert not (tmp_path / "teachers").exists()
