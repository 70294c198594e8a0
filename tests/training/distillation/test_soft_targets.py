"""Distillation loss by its formula, teacher averages, and the cache that refuses other teachers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tinyscene.runtime.spec import preset
from tinyscene.training.distillation.soft_targets import (
    SoftTargets,
    average_logits,
    distillation_loss,
    load_logits,
    save_logits,
    teacher_digest,
)
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import MODELS
from tinyscene.training.recipe import Distillation


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("average", ["batch", "batch_and_classes"])
def test_loss_by_its_formula(average: str) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.standard_normal((2, 5, 4)) * 3
    labels, t, hard = np.array([0, 3, 1, 1, 2]), 2.5, 0.1
    p, q = softmax(teacher / t), softmax(student / t)
    divergence = (p * np.log(p / q)).sum() / (5 if average == "batch" else 20)
    entropy = -np.log(softmax(student)[np.arange(5), labels]).mean()
    settings = Distillation(temperature=t, hard_weight=hard, average=average)
    loss = distillation_loss(torch.tensor(student), torch.tensor(teacher), torch.tensor(labels), settings)
    assert loss.shape == (5,)
    assert float(loss.mean()) == pytest.approx(hard * entropy + (1 - hard) * t * t * divergence)


def test_loss_is_least_at_the_teacher() -> None:
    teacher = torch.randn(3, 4)
    settings = Distillation(hard_weight=0.0)
    labels = torch.zeros(3, dtype=torch.long)
    assert distillation_loss(teacher + 1.5, teacher, labels, settings).tolist() == pytest.approx([0] * 3, abs=1e-6)
    assert float(distillation_loss(-teacher, teacher, labels, settings).min()) > 0.01


def test_average() -> None:
    a, b = np.ones((2, 3), np.float32), np.full((2, 3), 3, np.float32)
    assert (average_logits([a, b]) == 2).all()
    for members in ([], [a, b[:1]]):
        with pytest.raises(TrainingError, match="cannot be averaged"):
            average_logits(members)


def test_rows_follow_names() -> None:
    targets = SoftTargets(("x", "y", "z"), np.arange(6, dtype=np.float32).reshape(3, 2))
    assert targets.rows_for(["z", "x"]).tolist() == [[4, 5], [0, 1]]
    with pytest.raises(TrainingError, match="no teacher logits for w"):
        targets.rows_for(["x", "w"])


def test_cache_is_of_one_teacher(tmp_path: Path) -> None:
    model, path = build_model(MODELS["cpm23-8"]), tmp_path / "logits.npz"
    digest = teacher_digest(model, preset("cpm23"))
    assert digest == teacher_digest(model, preset("cpm23"))
    targets = SoftTargets(("b", "a"), np.random.default_rng(0).standard_normal((2, 10)).astype(np.float32))
    save_logits(path, targets, digest)
    loaded = load_logits(path, digest)
    assert loaded.names == ("b", "a")
    assert np.array_equal(loaded.logits, targets.logits)
    with torch.no_grad():
        model.feed_forward[1].bias[3] += 1e-6
    for other in (teacher_digest(model, preset("cpm23")), teacher_digest(model, preset("dcase25"))):
        with pytest.raises(TrainingError, match="another teacher"):
            load_logits(path, other)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match="no readable teacher logits"):
        load_logits(path, digest)
