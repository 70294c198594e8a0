"""Metrics of logits on clips with known scene, device and place.

Accuracies, the confusion matrix and the calibration error are a line of NumPy each on arrays that are needed anyway;
scikit-learn would be one more dependency, and torchmetrics computes in float32 and does not return the bins of the
reliability diagram. A test compares these figures with torchmetrics. Refuses logits whose shape does not match the
clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import log_softmax

from tinyscene.runtime.arrays import F32, F64, Bools
from tinyscene.runtime.manifest import Measure

from ..data.split_files import Record
from ..errors import TrainingError
from ..statistics import bootstrap_interval

BINS = 15  # of confidence


@dataclass(frozen=True)
class Bin:
    """Clips of similar confidence: their number, mean confidence, and accuracy."""

    clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Metrics:
    """Accuracies in [0, 1]; ``confusion[i][j]`` counts clips of label i classified as label j; ``log_loss`` in nats.

    ``class_accuracy`` is the mean over the classes, the metric of the challenge; ``calibration_error`` the mean
    difference between confidence and accuracy over 15 bins of confidence; ``interval`` the 95 % interval of
    ``accuracy`` from resampling places.
    """

    clips: int
    accuracy: float
    interval: tuple[float, float]
    class_accuracy: float
    per_device: dict[str, float]
    per_class: dict[str, float]
    per_city: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    log_loss: float
    calibration_error: float

    def to_json(self) -> dict[str, Measure]:
        return asdict(self)


def evaluate(logits: F32, records: Sequence[Record], labels: tuple[str, ...]) -> Metrics:
    """Metrics of float (n, classes) logits for ``records``; raises TrainingError if the shapes do not match."""
    if logits.shape != (len(records), len(labels)) or not len(records):
        raise TrainingError(
            "evaluation", "logits do not match the clips", expected=(len(records), len(labels)), got=logits.shape
        )
    index = {label: i for i, label in enumerate(labels)}
    truth = np.array([index[r.scene] for r in records])
    prediction = logits.argmax(axis=1)
    correct = truth == prediction
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth, prediction), 1)
    per_class = {label: float(correct[truth == i].mean()) for i, label in enumerate(labels) if (truth == i).any()}
    return Metrics(
        clips=len(records),
        accuracy=float(correct.mean()),
        interval=bootstrap_interval(correct[None].astype(np.float64), np.array([r.place for r in records])),
        class_accuracy=float(np.mean(list(per_class.values()))),
        per_device=_accuracy_by(correct, [r.device for r in records]),
        per_class=per_class,
        per_city=_accuracy_by(correct, [r.city for r in records]),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        log_loss=float(-_log_probability(logits)[np.arange(len(truth)), truth].mean()),
        calibration_error=calibration_error(reliability(logits, correct)),
    )


def reliability(logits: F32, correct: Bools) -> tuple[Bin, ...]:
    """Clips by the confidence of their prediction in 15 equal bins of [0, 1]; empty bins are omitted.

    For float (n, classes) logits; ``correct`` is bool (n,). Source: Guo et al., "On Calibration of Modern Neural
    Networks" (2017).
    """
    confidence = np.exp(_log_probability(logits).max(axis=1))
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    filled = [bins == i for i in np.unique(bins)]
    return tuple(Bin(int(b.sum()), float(confidence[b].mean()), float(correct[b].mean())) for b in filled)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Mean difference between confidence and accuracy over all clips."""
    return sum(b.clips * abs(b.confidence - b.accuracy) for b in bins) / sum(b.clips for b in bins)


def _accuracy_by(correct: Bools, keys: Sequence[str]) -> dict[str, float]:
    key = np.array(keys)
    return {k: float(correct[key == k].mean()) for k in sorted(set(keys))}


def _log_probability(logits: F32) -> F64:
    log_probability: F64 = log_softmax(logits.astype(np.float64), axis=1)
    return log_probability
