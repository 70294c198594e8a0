"""Metrics computed by hand and by torchmetrics, and the coverage of bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification

from tinyscene.training.data.split_files import Record
from tinyscene.training.errors import TrainingError
from tinyscene.training.evaluation.metrics import evaluate
from tinyscene.training.statistics import bootstrap_interval


def record(scene: str, device: str, city: str = "c", location: str = "0") -> Record:
    return Record(f"audio/{scene}-{city}-{location}-0-0-{device}.wav", scene, city, location, "0", "0", device)


def test_metrics_by_hand() -> None:
    records = [record("x", "a", "lyon"), record("x", "b"), record("y", "a"), record("z", "b", "lyon")]
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], np.float32)
    metrics = evaluate(np.log(p), records, ("x", "y", "z"))
    assert metrics.accuracy == 0.75
    assert metrics.per_device == {"a": 1.0, "b": 0.5}
    assert metrics.per_city == {"c": 0.5, "lyon": 1.0}
    assert metrics.per_class == {"x": 0.5, "y": 1.0, "z": 1.0}
    assert metrics.class_accuracy == pytest.approx(2.5 / 3)
    assert metrics.confusion == ((1, 1, 0), (0, 1, 0), (0, 0, 1))
    assert metrics.log_loss == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.6]).mean(), rel=1e-5)
    # Each clip has a bin of its own: confidence 0.7, 0.8 and 0.6 correct, 0.5 wrong.
    assert metrics.calibration_error == pytest.approx((0.3 + 0.5 + 0.2 + 0.4) / 4, rel=1e-5)
    with pytest.raises(TrainingError, match="do not match"):
        evaluate(np.log(p[:3]), records, ("x", "y", "z"))


def test_metrics_equal_those_of_torchmetrics() -> None:
    rng = np.random.default_rng(1)
    labels, n = ("x", "y", "z"), 500
    truth = rng.integers(0, 3, n)
    logits = (rng.normal(size=(n, 3)) + np.eye(3)[truth]).astype(np.float32)
    metrics = evaluate(logits, [record(labels[i], "a") for i in truth], labels)
    scores, target = torch.from_numpy(logits), torch.from_numpy(truth)
    confusion = classification.multiclass_confusion_matrix(scores, target, 3)
    assert metrics.confusion == tuple(map(tuple, confusion.tolist()))
    assert metrics.accuracy == pytest.approx(
        float(classification.multiclass_accuracy(scores, target, 3, average="micro"))
    )
    assert metrics.class_accuracy == pytest.approx(float(classification.multiclass_accuracy(scores, target, 3)))
    error = classification.multiclass_calibration_error(scores, target, 3, n_bins=15, norm="l1")
    assert metrics.calibration_error == pytest.approx(float(error), abs=1e-5)


def test_calibration_error_of_a_calibrated_model() -> None:
    rng = np.random.default_rng(0)
    n, sure = 4000, 0.8
    truth = rng.random(n) < sure
    logits = np.tile(np.log(np.array([sure, 1 - sure], np.float32)), (n, 1))
    records = [record("x" if right else "y", "a") for right in truth]
    assert evaluate(logits, records, ("x", "y")).calibration_error < 0.02
    assert evaluate(5 * logits, records, ("x", "y")).calibration_error > 0.15


def test_bootstrap_intervals_have_their_coverage() -> None:
    """Clips of one place are equal: the width of the interval must follow the number of places."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 20).astype(str)
    covered, widths = 0, []
    for trial in range(60):
        place = rng.normal(0.6, 0.1, 30)
        low, high = bootstrap_interval(np.repeat(place, 20)[None], groups, seed=trial)
        covered += low <= 0.6 <= high
        widths.append(high - low)
    assert covered >= 51
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.1 / 30**0.5, rel=0.1)
    assert bootstrap_interval(np.ones((2, 600)), groups) == (1.0, 1.0)


def test_runs_are_resampled_too() -> None:
    groups = np.array(["x", "y"] * 10)
    runs = np.stack([np.full(20, 0.2), np.full(20, 0.4)])
    assert bootstrap_interval(runs, groups) == pytest.approx((0.2, 0.4))
