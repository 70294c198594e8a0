"""Fusion: weights sum to one, heads learn to weight accurate teachers, selection on the validation part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tinyscene.training.recipe import Fusion, TrainSettings
from tinyscene.training.teachers.fusion import LogitsHead, fuse, fused_cross_entropy, train_z2

SETTINGS = Fusion(listener=TrainSettings(model="cpm23-8", epochs=1, learning_rate=1e-3), epochs=40, learning_rate=1e-2)


def test_fusing_by_its_formula() -> None:
    rng = np.random.default_rng(0)
    logits, weights = rng.standard_normal((5, 3, 4)), rng.uniform(size=(5, 3, 4))
    per_class = np.array(
        [[sum(weights[n, t, c] * logits[n, t, c] for t in range(3)) for c in range(4)] for n in range(5)]
    )
    np.testing.assert_allclose(fuse(torch.tensor(weights), torch.tensor(logits)), per_class)
    per_teacher = np.einsum("nt,ntc->nc", weights[..., 0], logits)
    np.testing.assert_allclose(fuse(torch.tensor(weights[..., 0]), torch.tensor(logits)), per_teacher)


def test_weights_sum_to_one_and_start_equal() -> None:
    head, logits = LogitsHead(3, 4, 8), torch.randn(6, 3, 4)
    torch.testing.assert_close(head(logits), torch.full_like(logits, 1 / 3))
    torch.nn.init.normal_(head.layers[-1].weight)
    weights = head(logits)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(6, 4))
    assert float(weights.detach().std()) > 0.05


def test_an_uninformative_teacher_gets_little_weight() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 4, 400)
    accurate = 3 * np.eye(4)[targets] + rng.standard_normal((400, 4))
    random_logits = 3 * rng.standard_normal((400, 4))
    logits = np.stack([accurate, random_logits], axis=1).astype(np.float32)
    head = train_z2(SETTINGS, logits[:300], targets[:300], seed=0)
    again = train_z2(SETTINGS, logits[:300], targets[:300], seed=0)
    held_out, truth = torch.from_numpy(logits[300:]), torch.from_numpy(targets[300:])
    with torch.no_grad():
        weights = head(held_out)
        assert torch.equal(weights, again(held_out))
    assert float(weights[:, 0].mean()) > 0.8
    mean = F.cross_entropy(held_out.mean(dim=1), truth)
    assert float(F.cross_entropy(fuse(weights, held_out), truth)) < 0.7 * float(mean)


def test_teachers_get_weight_on_the_classes_they_classify_well() -> None:
    rng = np.random.default_rng(2)
    targets = rng.integers(0, 4, 800)
    logits = rng.standard_normal((800, 2, 4)).astype(np.float32)
    for teacher, known in enumerate(((0, 1), (2, 3))):
        for c in known:
            logits[:, teacher, c] = 4 * (targets == c) + 0.3 * rng.standard_normal(800)
    head = train_z2(SETTINGS, logits, targets, seed=0)
    with torch.no_grad():
        weights = head(torch.from_numpy(logits)).mean(dim=0)  # (teachers, classes)
    assert float(weights[0, :2].min()) > float(weights[0, 2:].max())


def test_the_loss_of_z1_is_that_of_the_fused_logits() -> None:
    outputs, teachers, target = torch.randn(6, 2), torch.randn(6, 2, 3), torch.arange(6) % 3
    loss = fused_cross_entropy(outputs, {"teacher": teachers, "target": target})
    expected = F.cross_entropy(fuse(outputs.softmax(1), teachers), target)
    assert loss.shape == (6,)
    assert float(loss.mean()) == pytest.approx(float(expected))
