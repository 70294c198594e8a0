"""Views: each augmentation step by its definition, and the teachers' logits for the student's augmented clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.layout import write_layout
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.distillation.soft_targets import SoftTargets
from tinyscene.training.errors import TrainingError
from tinyscene.training.fit.batches import TrainingBatches
from tinyscene.training.fit.fit import predict_logits
from tinyscene.training.models.network import Network
from tinyscene.training.recipe import Augment, Fusion, Recipe, TrainSettings
from tinyscene.training.run import Run
from tinyscene.training.teachers.ensemble import averaged, fused, views_of
from tinyscene.training.teachers.fusion import LogitsHead
from tinyscene.training.teachers.teacher import TrainedTeacher
from tinyscene.training.transforms.augment import PARTNER
from tinyscene.training.transforms.views import View, Views

ALL = Augment(roll_samples=40, device_ir_p=0.6, gain_db=6, mixup_p=0.5, mixup_alpha=0.4)
REFERENCE = np.arange(2000) % 2 == 0


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau", places=6, clips=1)).load(32_000, folder / "cache", progress=False)


class LevelModel(nn.Module):
    """A teacher whose logits are the level and the spectral balance of its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.mean((1, 2, 3)), x[:, :, :32].mean((1, 2, 3)), x[:, :, 32:].mean((1, 2, 3))], dim=1)


def level_teacher(folder: Path) -> TrainedTeacher:
    return TrainedTeacher("level", Network(LevelModel(), preset("cpm23")), folder, digest="level")


def test_draws_follow_their_distributions() -> None:
    drawn = Views(ALL, seed=3).draw(0, REFERENCE, microphones=7)
    assert set(drawn) == {"shift", "microphone", "gain_db", "share", "partner"}
    assert (drawn["shift"].min(), drawn["shift"].max()) == (-40, 40)
    microphone = drawn["microphone"]
    assert (microphone[~REFERENCE] == -1).all()
    assert (microphone[REFERENCE] >= 0).mean() == pytest.approx(0.6, abs=0.05)
    assert set(microphone.tolist()) == set(range(-1, 7))
    assert -6 <= drawn["gain_db"].min() < -5.8
    assert 5.8 < drawn["gain_db"].max() <= 6
    assert drawn["gain_db"].std() == pytest.approx(12 / 12**0.5, rel=0.05)
    assert sorted(drawn["partner"].tolist()) == list(range(2000))
    mixed = drawn["share"] < 1
    assert mixed.mean() == pytest.approx(0.5, abs=0.05)
    beta = np.random.default_rng(0).beta(0.4, 0.4, 100_000)
    assert drawn["share"][mixed].min() >= 0.5
    assert drawn["share"][mixed].mean() == pytest.approx(np.maximum(beta, 1 - beta).mean(), abs=0.03)


def test_a_view_depends_on_seed_and_number_only_and_steps_are_independent() -> None:
    drawn = Views(ALL, seed=3).draw(5, REFERENCE, 7)
    again = Views(ALL, seed=3).draw(5, REFERENCE, 7)
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)
    for other in (Views(ALL, seed=3).draw(6, REFERENCE, 7), Views(ALL, seed=4).draw(5, REFERENCE, 7)):
        assert not any(np.array_equal(drawn[name], other[name]) for name in drawn)
    alone = Views(Augment(gain_db=6), seed=3).draw(5, REFERENCE, 7)
    assert set(alone) == {"gain_db"}
    assert np.array_equal(alone["gain_db"], drawn["gain_db"])
    assert not Views(Augment(), seed=3).draw(5, REFERENCE, 0)


def test_views_are_cyclic_or_new_per_epoch() -> None:
    assert [Views(ALL, 0, count=3).number(epoch) for epoch in range(5)] == [0, 1, 2, 0, 1]
    assert [Views(ALL, 0).number(epoch) for epoch in range(5)] == [0, 1, 2, 3, 4]


def test_rows_of_a_view_are_augmented_waveforms(dataset: Dataset) -> None:
    views = Views(ALL, seed=1)
    view = View(dataset.train, views, 2, views.responses(32_000))
    whole = view[:]
    assert whole.shape == view.shape
    assert whole.dtype == np.float32
    np.testing.assert_allclose(view[5:9], whole[5:9], atol=1e-6)
    plain = View(dataset.train, Views(Augment(), 0), 0, None)
    np.testing.assert_array_equal(plain[:], np.array(dataset.train.waveforms, np.float32) / 32768)
    # A mixed clip is the weighted sum of the clip and its partner, each augmented by itself.
    alone = View(dataset.train, replace(views, augment=ALL.model_copy(update={"mixup_p": 0.0})), 2, view.responses)[:]
    share, partner = view.draws["share"][:, None], view.draws["partner"]
    np.testing.assert_allclose(whole, share * alone + (1 - share) * alone[partner], atol=1e-6)


def test_soft_targets_belong_to_the_augmented_clips(dataset: Dataset, tmp_path: Path) -> None:
    views = Views(ALL, seed=7, count=2)
    teacher = level_teacher(tmp_path)
    targets = teacher.logits(dataset, "train", views)
    assert targets.logits.shape == (len(dataset.train), 2, 3)
    batches = TrainingBatches(dataset.train, views, 32_000, targets)
    rows = [4, 0, 9]
    for epoch in range(3):
        batches.set_epoch(epoch)
        batch = batches.__getitems__(rows)
        augmented = batches.view[np.array(rows)]
        np.testing.assert_allclose(
            batch["teacher"], predict_logits(teacher.model, teacher.frontend, augmented), atol=1e-5
        )
        assert torch.equal(batch[PARTNER + "teacher"], batch["teacher"])  # for the mixture
    assert np.array_equal(teacher.logits(dataset, "train", views).logits, targets.logits)


def test_without_views_a_clip_and_its_partner_have_their_own_logits(dataset: Dataset) -> None:
    names = tuple(r.filename for r in dataset.train.records)
    logits = np.random.default_rng(0).standard_normal((len(names), 3)).astype(np.float32)
    batches = TrainingBatches(dataset.train, Views(ALL, 0), 32_000, SoftTargets(names, logits))
    batches.set_epoch(1)
    batch = batches.__getitems__([3, 5])
    partner = batches.view.draws["partner"][[3, 5]]
    assert np.array_equal(batch["teacher"], logits[[3, 5]])
    assert np.array_equal(batch[PARTNER + "teacher"], logits[partner])
    assert np.array_equal(batch[PARTNER + "target"], dataset.train.targets[partner])


@pytest.mark.parametrize(
    "other", [Views(ALL, seed=1, count=2), Views(ALL, seed=0, count=3), Views(Augment(gain_db=3), 0, 2), None]
)
def test_logits_of_other_views_are_refused(dataset: Dataset, tmp_path: Path, other: Views | None) -> None:
    level_teacher(tmp_path).logits(dataset, "train", Views(ALL, seed=0, count=2))
    if other is None:  # shifted by one clip: the partners are others
        names = [r.filename for r in dataset.train.records]
        views = Views(ALL, 0, 2)
        assert views.digest(names) != views.digest([*names[1:], names[0]])
        return
    with pytest.raises(TrainingError, match="logits of other views"):
        level_teacher(tmp_path).logits(dataset, "train", other)


def test_teachers_are_averaged_and_fused_view_by_view(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = TrainSettings(model="cpm23-8", epochs=1, batch_size=16, learning_rate=1e-3, augment=ALL)
    recipe = Recipe(
        **few.model_dump(), name="r", teachers=(few, few), views=2, fusion=Fusion(folds=2, listener=few, epochs=2)
    )
    views = views_of(recipe, 0)
    assert views == Views(ALL, 0, 2)
    teachers = [
        level_teacher(tmp_path / "a"),
        replace(
            level_teacher(tmp_path / "b"),
            network=Network(nn.Sequential(LevelModel(), nn.Hardtanh(-0.1, 0.1)), preset("cpm23")),
        ),
    ]
    mean = averaged(teachers, Run(dataset, tmp_path, 0), views).train
    assert mean.views == views
    members = [t.logits(dataset, "train", views).logits for t in teachers]
    np.testing.assert_allclose(mean.logits, (members[0] + members[1]) / 2, atol=1e-6)
    # Untrained heads have equal weights, so that fusing is averaging, view by view.
    monkeypatch.setattr("tinyscene.training.teachers.fusion.train_z2", lambda *_: LogitsHead(2, 3, 4))
    monkeypatch.setattr(
        "tinyscene.training.teachers.fusion._weights_z1",
        lambda _, waveforms: np.full((len(waveforms), 2, 1), 0.5, np.float32),
    )
    together = fused(recipe, teachers, Run(dataset, tmp_path, 0, progress=False))
    np.testing.assert_allclose(together.train.logits, mean.logits, atol=1e-6)
    assert together.train.views == views


def test_views_and_out_of_fold_targets_exclude_each_other() -> None:
    few = TrainSettings(model="cpm23-8", epochs=1, learning_rate=1e-3)
    fusion = Fusion(listener=few, soft_targets="out_of_fold")
    with pytest.raises(ValueError, match="need the logits of the teachers"):
        Recipe(**few.model_dump(), name="r", teachers=(few, few), views=2, fusion=fusion)
