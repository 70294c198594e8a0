"""Feature distillation: both losses by their definitions, a frozen teacher, no collapse of the projection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tinyscene.runtime.spec import preset
from tinyscene.training.distillation.features import FeatureLoss, StageTap, gram_loss, projection_loss
from tinyscene.training.errors import TrainingError
from tinyscene.training.fit.module import SceneModule
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import named_config
from tinyscene.training.models.network import Network
from tinyscene.training.recipe import FeatureDistillation, FitSettings

STUDENT, TEACHER = preset("cpm23"), preset("cpresnet")


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    torch.manual_seed(0)
    return build_model(named_config("cpresnet-33k", n_classes=3))


def feature_loss(teacher: nn.Module, **settings: Any) -> tuple[nn.Module, FeatureLoss]:
    torch.manual_seed(1)
    student = build_model(named_config("cpm23-8", n_classes=3, padding="same"))
    networks = Network(student, STUDENT), Network(teacher, TEACHER)
    return student, FeatureLoss(*networks, FeatureDistillation(**settings))


def batch(clips: int = 6) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(2)
    level = torch.logspace(2, 3.5, clips)[:, None]
    return {
        "waveform": (level * torch.randn(clips, STUDENT.clip_samples, generator=g)).to(torch.int16),
        "target": torch.arange(clips) % 3,
    }


def test_projection_loss_is_the_unexplained_part() -> None:
    g = torch.Generator().manual_seed(0)
    teacher = 7 + 3 * torch.randn(8, 5, 6, 4, generator=g)
    normalised = (teacher - teacher.mean((0, 2, 3), keepdim=True)) / teacher.std((0, 2, 3), keepdim=True, correction=0)
    assert float(projection_loss(normalised, teacher)) == pytest.approx(0, abs=1e-6)
    assert float(projection_loss(torch.zeros_like(teacher), teacher)) == pytest.approx(1, abs=1e-4)
    assert float(projection_loss(normalised, 100 * teacher - 3)) == pytest.approx(0, abs=1e-5)


def test_both_are_pooled_to_the_coarser_grid() -> None:
    fine = torch.randn(3, 2, 6, 4)
    coarse = fine.reshape(3, 2, 3, 2, 4).mean(dim=3)
    assert float(projection_loss(fine, coarse)) == pytest.approx(float(projection_loss(coarse, coarse)), rel=1e-5)
    assert float(projection_loss(coarse, fine)) == pytest.approx(float(projection_loss(coarse, coarse)), rel=1e-5)


def test_gram_loss_by_its_formula() -> None:
    rng = np.random.default_rng(0)
    s, t = rng.standard_normal((4, 3, 2, 5)), rng.standard_normal((4, 6, 3, 3))

    def rows(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(4, -1)
        similarities = flat @ flat.T
        return similarities / np.sqrt((similarities**2).sum(axis=1, keepdims=True))

    expected = ((rows(s) - rows(t)) ** 2).sum() / 4
    assert float(gram_loss(torch.tensor(s), torch.tensor(t))) == pytest.approx(expected)
    assert float(gram_loss(torch.tensor(t), torch.tensor(2 * t))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", ["projection", "gram"])
def test_training_reaches_the_students_stage_and_nothing_of_the_teacher(kind: str, teacher: nn.Module) -> None:
    student, loss = feature_loss(teacher, kind=kind, student_stage="stages.s2", teacher_stage="stage2")
    before = {name: t.clone() for name, t in loss.teacher.state_dict().items()}
    module = SceneModule(Network(student, STUDENT), FitSettings(epochs=1, learning_rate=0.01), 0, features=loss)
    module.train()
    assert not any(m.training for m in loss.teacher.modules())
    x = batch()
    student(module.log_mel(x["waveform"].float() / 32768))
    loss(x["waveform"].float() / 32768).backward()
    reached = {name for name, p in student.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert any(name.startswith("stages.s2.") for name in reached)
    assert any(name.startswith("in_c.") for name in reached)
    assert not any(name.startswith(("stages.s3.", "feed_forward.")) for name in reached)
    assert all(p.grad is None and not p.requires_grad for p in loss.teacher.parameters())
    optimizer = module.configure_optimizers()["optimizer"]
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in loss.teacher.parameters()}
    assert trained >= {id(p) for p in student.parameters()}
    if loss.projection is not None:
        assert {id(p) for p in loss.projection.parameters()} <= trained
    optimizer.step()
    assert all(torch.equal(t, before[name]) for name, t in loss.teacher.state_dict().items())
    assert all(torch.equal(t, loss.teacher.model.state_dict()[name]) for name, t in teacher.state_dict().items())


def test_the_projection_learns_and_does_not_collapse(teacher: nn.Module) -> None:
    student, loss = feature_loss(teacher)
    x = batch(8)["waveform"].float() / 32768
    module = SceneModule(Network(student, STUDENT), FitSettings(epochs=1, learning_rate=0.01), 0, features=loss)
    module.train()
    images = module.log_mel(x)
    optimizer = torch.optim.Adam([*student.parameters(), *loss.projection.parameters()], lr=2e-2)
    values = []
    for _ in range(12):
        student(images)
        value = loss(x)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[0] > 0.8
    assert values[-1] < 0.6 * values[0]
    tap = StageTap(student, "stages.s3")
    student(images)
    with torch.no_grad():
        spread = loss.projection(tap.take()).var(dim=(0, 2, 3))
    assert float(spread.median()) > 0.1


def test_stages_are_named_strictly(teacher: nn.Module) -> None:
    with pytest.raises(TrainingError, match=r"stage 'stage9': unknown; expected .*stage3"):
        feature_loss(teacher, teacher_stage="stage9")
    with pytest.raises(TrainingError, match=r"stages\.s3"):
        feature_loss(teacher, student_stage="stage3")
    tap = StageTap(nn.Sequential(nn.Flatten()), "0")
    with pytest.raises(TrainingError, match="not an image"):
        tap.take()


def test_remove_restores_the_student(teacher: nn.Module) -> None:
    student, loss = feature_loss(teacher)
    loss.remove()
    assert not any(m._forward_hooks for m in student.modules())
    assert set(student.state_dict()) == set(build_model(named_config("cpm23-8", n_classes=3)).state_dict())


def test_mixed_clips_have_mixed_losses(teacher: nn.Module) -> None:
    """Cross-entropy is linear in the labels, so mixing losses is mixing labels."""
    student, _ = feature_loss(teacher)
    module = SceneModule(Network(student, STUDENT), FitSettings(epochs=1, learning_rate=0.01), 0)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    share, others = torch.tensor([0.9, 0.5, 0.7, 1.0]), labels[[1, 3, 0, 2]]
    one_hot, other = (nn.functional.one_hot(x, 3).float() for x in (labels, others))
    soft = share[:, None] * one_hot + (1 - share[:, None]) * other
    got = module._mixed_loss(logits, {"target": labels, "share": share, "partner_target": others})
    torch.testing.assert_close(got, nn.functional.cross_entropy(logits, soft))
