"""Teachers, what they say together, and the student: trained, kept, read back, refused when they are others."""

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
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Dataset, Tau22, split_folds
from tinyscene.training.errors import TrainingError
from tinyscene.training.fit.fit import predict_logits
from tinyscene.training.fit.network import build_network
from tinyscene.training.method_comparison import compare
from tinyscene.training.models.checkpoint import load_model
from tinyscene.training.pipeline import train_student, train_teachers
from tinyscene.training.recipe import FeatureDistillation, Fusion, Recipe, TrainSettings
from tinyscene.training.teachers.teacher import load_teacher

FEW: dict[str, Any] = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
MINE = "tests.training.test_teachers:ears_of_mine"
RECIPE = Recipe(
    name="small",
    model="cpm23-8",
    teachers=(
        TrainSettings(model="cpresnet-33k", frontend="cpresnet", padding="torch", **FEW),
        TrainSettings(model=MINE, **FEW),
    ),
    **FEW,
)


def ears_of_mine(n_classes: int) -> nn.Module:
    """A teacher that is none of ours."""
    model = nn.Sequential(nn.AvgPool2d(16), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(8 * 6, n_classes))
    model.frontend = replace(preset("passt"), name="mine")
    return model


def not_a_teacher(n_classes: int) -> nn.Module:
    return nn.Linear(2, n_classes)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau", places=6, clips=1)).load(32_000, folder / "cache", progress=False)


def test_teachers_then_student(dataset: Dataset, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"features": FeatureDistillation(weight=0.5)})
    targets, report = train_teachers(recipe, dataset, tmp_path, seed=0, progress=False)
    assert targets.names == tuple(r.filename for r in dataset.train.records)
    assert [t.name for t in report.teachers] == ["cpresnet-33k", MINE]
    assert (report.choice, report.fusion) == ("mean", {})
    caches = sorted(tmp_path.glob("teachers/*/logits-train.npz"))
    parts = [np.load(path)["logits"] for path in caches]
    np.testing.assert_allclose(targets.logits, (parts[0] + parts[1]) / 2, atol=1e-6)
    written = [path.stat().st_mtime_ns for path in caches]
    again, _ = train_teachers(recipe, dataset, tmp_path, seed=0, resume=True, progress=False)
    assert np.array_equal(again.logits, targets.logits)
    assert [path.stat().st_mtime_ns for path in caches] == written

    student = train_student(recipe, dataset, tmp_path, soft_targets=targets, seed=0, progress=False)
    assert student.fit.history[0]["feature_loss"] > 0
    loaded = load_model(student.path)
    assert loaded.labels == dataset.labels
    assert loaded.metrics["accuracy"] == student.metrics.accuracy
    np.testing.assert_allclose(
        predict_logits(loaded.model, loaded.frontend, dataset.test.waveforms), student.logits, atol=1e-5
    )
    other = recipe.model_copy(update={"features": FeatureDistillation(weight=0.6)})
    with pytest.raises(TrainingError, match="differs in features"):
        train_student(other, dataset, tmp_path, soft_targets=targets, seed=0, resume=True, progress=False)
    with pytest.raises(TrainingError, match="has no teachers"):
        train_teachers(recipe.model_copy(update={"teachers": ()}), dataset, tmp_path, seed=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"features": FeatureDistillation(student_stage="stages.s9")}, "stage 'stages.s9': unknown"),
        ({"features": FeatureDistillation(teacher=1)}, "has no stage known to us"),
        (
            {"teachers": (RECIPE.teachers[0], TrainSettings(model=MINE, pretrained="absent.pt", **FEW))},
            "absent.pt: no such file",
        ),
    ],
)
def test_what_cannot_be_built_is_said_before_a_teacher_trains(
    change: dict[str, Any], says: str, dataset: Dataset, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(RECIPE.model_copy(update=change).model_dump())
    with pytest.raises(TrainingError, match=re.escape(says)):
        train_teachers(recipe, dataset, tmp_path, seed=0, progress=False)
    with pytest.raises(TrainingError, match=re.escape(says)):
        compare(recipe, dataset, tmp_path, seeds=[0], names=["projection"], progress=False)
    assert not list(tmp_path.iterdir())


def test_logits_of_a_teacher_since_changed_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    train_teachers(RECIPE, dataset, tmp_path, seed=0, progress=False)
    teacher = load_teacher(RECIPE, 1, tmp_path, 3)
    before = teacher.logits(dataset, "test")
    path = teacher.folder / "weights.pt"
    state = torch.load(path, weights_only=True)
    state["3.bias"] += 1e-3
    torch.save(state, path)
    changed = load_teacher(RECIPE, 1, tmp_path, 3)
    with pytest.raises(TrainingError, match="another teacher or front end"):
        changed.logits(dataset, "test")
    (teacher.folder / "logits-test.npz").unlink()
    np.testing.assert_allclose(changed.logits(dataset, "test").logits - before.logits, 1e-3, atol=1e-5)
    del state["3.bias"]
    torch.save(state, path)
    with pytest.raises(TrainingError, match=r"'3\.bias' is missing"):
        load_teacher(RECIPE, 1, tmp_path, 3)


def test_a_student_learns_from_fused_teachers(dataset: Dataset, tmp_path: Path) -> None:
    listener = TrainSettings(model="cpm23-8", **FEW)
    recipe = RECIPE.model_copy(update={"fusion": Fusion(folds=2, listener=listener, epochs=5)})
    targets, report = train_teachers(recipe, dataset, tmp_path, seed=0, progress=False)
    assert set(report.fusion) == {"equal", "z1", "z2", "z1+z2"}
    losses = {name: reached["log_loss"] for name, reached in report.fusion.items() if name != "equal"}
    assert report.choice == min(losses, key=lambda name: losses[name])
    assert targets.logits.shape == (len(dataset.train), 3)
    assert len(list(tmp_path.glob("teachers/*/fold-*"))) == 4
    again, _ = train_teachers(recipe, dataset, tmp_path, seed=0, resume=True, progress=False)
    np.testing.assert_allclose(again.logits, targets.logits, atol=1e-6)


def test_folds_hold_whole_places_and_every_scene(dataset: Dataset) -> None:
    records = dataset.train.records
    for folds in (2, 3):
        fold_of = split_folds(records, folds)
        assert np.array_equal(fold_of, split_folds(records, folds))
        for place in {r.place for r in records}:
            assert len({f for f, r in zip(fold_of, records, strict=True) if r.place == place}) == 1
        for fold in range(folds):
            assert {r.scene for f, r in zip(fold_of, records, strict=True) if f == fold} == set(dataset.labels)
    with pytest.raises(TrainingError, match="two places or more"):
        split_folds([r for r in records if r.place == records[0].place], 2)


def test_weights_trained_elsewhere_are_where_a_teacher_starts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = TrainSettings(model="passt-tiny", frontend="passt", **FEW)
    published = build_network(settings, 527).model.state_dict()
    torch.save(published, tmp_path / "audioset.pt")
    network = build_network(settings.model_copy(update={"pretrained": tmp_path / "audioset.pt"}), 3)
    assert torch.equal(network.model.blocks[1].mlp.fc1.weight, published["blocks.1.mlp.fc1.weight"])
    with pytest.raises(TrainingError, match="no such file"):
        build_network(settings.model_copy(update={"pretrained": tmp_path / "none.pt"}), 3)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.to_be:found", "cannot be found"),
        ("tests.training.test_teachers:nothing", "cannot be found"),
        ("tests.training.test_teachers:not_a_teacher", "attribute frontend"),
    ],
)
def test_functions_that_make_no_teacher(name: str, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        build_network(TrainSettings(model=name, **FEW), 3)
