"""Teachers, their ensemble, and the student: training, caching, reading back, and refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.layout import write_layout
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Dataset, Tau22, split_folds
from tinyscene.training.errors import TrainingError
from tinyscene.training.fit.fit import predict_logits
from tinyscene.training.fit.network import build_network
from tinyscene.training.method_comparison import compare
from tinyscene.training.models.checkpoint import load_model
from tinyscene.training.pipeline import train_student, train_teachers
from tinyscene.training.recipe import FeatureDistillation, Fusion, Recipe, TrainSettings
from tinyscene.training.run import Run
from tinyscene.training.teachers.teacher import load_teacher

FEW: dict[str, Any] = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
MINE = "tests.training.teachers.test_teacher:user_teacher"
RECIPE = Recipe(
    name="small",
    model="cpm23-8",
    teachers=(
        TrainSettings(model="cpresnet-33k", frontend="cpresnet", padding="torch", **FEW),
        TrainSettings(model=MINE, **FEW),
    ),
    **FEW,
)


def user_teacher(n_classes: int) -> nn.Module:
    """A teacher module that is not part of tinyscene."""
    model = nn.Sequential(nn.AvgPool2d(16), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(8 * 6, n_classes))
    model.frontend = replace(preset("passt"), name="mine")
    return model


def not_a_teacher(n_classes: int) -> nn.Module:
    return nn.Linear(2, n_classes)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau", places=6, clips=1)).load(32_000, folder / "cache", progress=False)


def run_in(dataset: Dataset, folder: Path, *, resume: bool = False) -> Run:
    return Run(dataset, folder, seed=0, resume=resume, progress=False)


def test_teachers_then_student(dataset: Dataset, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"features": FeatureDistillation(weight=0.5)})
    targets, report = train_teachers(recipe, run_in(dataset, tmp_path))
    assert targets.names == tuple(r.filename for r in dataset.train.records)
    assert [t.name for t in report.teachers] == ["cpresnet-33k", MINE]
    assert (report.choice, report.fusion) == ("mean", {})
    caches = sorted(tmp_path.glob("teachers/*/logits-train.npz"))
    parts = [np.load(path)["logits"] for path in caches]
    np.testing.assert_allclose(targets.logits, (parts[0] + parts[1]) / 2, atol=1e-6)
    written = [path.stat().st_mtime_ns for path in caches]
    again, _ = train_teachers(recipe, run_in(dataset, tmp_path, resume=True))
    assert np.array_equal(again.logits, targets.logits)
    assert [path.stat().st_mtime_ns for path in caches] == written

    student = train_student(recipe, run_in(dataset, tmp_path), soft_targets=targets)
    assert student.fit.history[0]["feature_loss"] > 0
    loaded = load_model(student.path)
    assert loaded.labels == dataset.labels
    assert loaded.metrics["accuracy"] == student.metrics.accuracy
    np.testing.assert_allclose(
        predict_logits(loaded.model, loaded.frontend, dataset.test.waveforms), student.logits, atol=1e-5
    )
    other = recipe.model_copy(update={"features": FeatureDistillation(weight=0.6)})
    with pytest.raises(TrainingError, match="differs in features"):
        train_student(other, run_in(dataset, tmp_path, resume=True), soft_targets=targets)
    with pytest.raises(TrainingError, match="has no teachers"):
        train_teachers(recipe.model_copy(update={"teachers": ()}), run_in(dataset, tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"features": FeatureDistillation(student_stage="stages.s9")}, "stage 'stages.s9': unknown"),
        ({"features": FeatureDistillation(teacher=1)}, "has no known stages"),
        (
            {"teachers": (RECIPE.teachers[0], TrainSettings(model=MINE, pretrained="absent.pt", **FEW))},
            "absent.pt: no such file",
        ),
    ],
)
def test_networks_that_cannot_be_built_are_refused_before_training(
    change: dict[str, Any], says: str, dataset: Dataset, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(RECIPE.model_copy(update=change).model_dump())
    with pytest.raises(TinysceneError, match=re.escape(says)):
        train_teachers(recipe, run_in(dataset, tmp_path))
    with pytest.raises(TinysceneError, match=re.escape(says)):
        compare(recipe, run_in(dataset, tmp_path), seeds=[0], names=["projection"])
    assert not list(tmp_path.iterdir())


def test_logits_of_a_changed_teacher_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    train_teachers(RECIPE, run_in(dataset, tmp_path))
    teacher = load_teacher(RECIPE, 1, run_in(dataset, tmp_path))
    before = teacher.logits(dataset, "test")
    path = teacher.folder / "weights.pt"
    state = torch.load(path, weights_only=True)
    state["3.bias"] += 1e-3
    torch.save(state, path)
    changed = load_teacher(RECIPE, 1, run_in(dataset, tmp_path))
    with pytest.raises(TrainingError, match="another teacher or front end"):
        changed.logits(dataset, "test")
    (teacher.folder / "logits-test.npz").unlink()
    np.testing.assert_allclose(changed.logits(dataset, "test").logits - before.logits, 1e-3, atol=1e-5)
    del state["3.bias"]
    torch.save(state, path)
    with pytest.raises(TrainingError, match=r"'3\.bias' is missing"):
        load_teacher(RECIPE, 1, run_in(dataset, tmp_path))


def test_fused_soft_targets(dataset: Dataset, tmp_path: Path) -> None:
    listener = TrainSettings(model="cpm23-8", **FEW)
    recipe = RECIPE.model_copy(update={"fusion": Fusion(folds=2, listener=listener, epochs=5)})
    targets, report = train_teachers(recipe, run_in(dataset, tmp_path))
    assert set(report.fusion) == {"equal", "z1", "z2", "z1+z2"}
    losses = {name: score.log_loss for name, score in report.fusion.items() if name != "equal"}
    assert report.choice == min(losses, key=lambda name: losses[name])
    assert targets.logits.shape == (len(dataset.train), 3)
    assert len(list(tmp_path.glob("teachers/*/fold-*"))) == 4
    again, _ = train_teachers(recipe, run_in(dataset, tmp_path, resume=True))
    np.testing.assert_allclose(again.logits, targets.logits, atol=1e-6)


def test_folds_contain_whole_places_and_every_scene(dataset: Dataset) -> None:
    records = dataset.train.records
    for folds in (2, 3):
        fold_of = split_folds(records, folds)
        assert np.array_equal(fold_of, split_folds(records, folds))
        for place in {r.place for r in records}:
            assert len({f for f, r in zip(fold_of, records, strict=True) if r.place == place}) == 1
        for fold in range(folds):
            assert {r.scene for f, r in zip(fold_of, records, strict=True) if f == fold} == set(dataset.labels)
    with pytest.raises(TrainingError, match="at least two places"):
        split_folds([r for r in records if r.place == records[0].place], 2)


def test_a_teacher_starts_from_pretrained_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = TrainSettings(model="passt-tiny", frontend="passt", **FEW)
    published = build_network(settings, 527).model.state_dict()
    torch.save(published, tmp_path / "audioset.pt")
    network = build_network(settings.model_copy(update={"pretrained": tmp_path / "audioset.pt"}), 3)
    assert torch.equal(network.model.blocks[1].mlp.fc1.weight, published["blocks.1.mlp.fc1.weight"])
    with pytest.raises(TinysceneError, match="no such file"):
        build_network(settings.model_copy(update={"pretrained": tmp_path / "none.pt"}), 3)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.to_be:found", "cannot be found"),
        ("tests.training.teachers.test_teacher:nothing", "has no 'nothing'"),
        ("tests.training.teachers.test_teacher:not_a_teacher", "attribute frontend"),
    ],
)
def test_functions_that_return_no_teacher(name: str, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        build_network(TrainSettings(model=name, **FEW), 3)
