"""Figures of merit from logits, over clips whose scene and device are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import F32, F64

from ..data.split_files import Record
from ..errors import TrainingError
from ..statistics import _means, bootstrap_interval

BINS = 15  # of confidence


@dataclass(frozen=True)
class Bin:
    """Clips of like confidence: how many, their mean confidence, and how many of them were told rightly, as a share."""

    clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Metrics:
    """Accuracies in [0, 1]; ``confusion[i][j]`` counts clips of label i taken for label j; ``log_loss`` in nats.

    ``class_accuracy`` is the mean over the classes, the figure of the challenge; ``calibration_error`` the mean
    distance of confidence and accuracy over 15 bins of confidence; ``interval`` holds ``accuracy`` with 95 %, places
    resampled.
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(logits: F32, records: Sequence[Record], labels: tuple[str, ...]) -> Metrics:
    """Metrics of float (n, classes) logits for ``records``; raises TrainingError if the shapes do not fit."""
    if logits.shape != (len(records), len(labels)) or not len(records):
        raise TrainingError(
            "evaluation", "logits do not fit the clips", expected=(len(records), len(labels)), got=logits.shape
        )
    index = {label: i for i, label in enumerate(labels)}
    truth = np.array([index[r.scene] for r in records])
    guess = logits.argmax(axis=1)
    right = truth == guess
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth, guess), 1)
    log_probability = _log_softmax(logits)
    per_class = {label: float(right[truth == i].mean()) for i, label in enumerate(labels) if (truth == i).any()}
    return Metrics(
        clips=len(records),
        accuracy=float(right.mean()),
        interval=bootstrap_interval(right[None].astype(np.float64), np.array([r.place for r in records])),
        class_accuracy=float(np.mean(list(per_class.values()))),
        per_device=_means(right, [r.device for r in records]),
        per_class=per_class,
        per_city=_means(right, [r.city for r in records]),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        log_loss=float(-log_probability[np.arange(len(truth)), truth].mean()),
        calibration_error=calibration_error(reliability(logits, right)),
    )


def reliability(logits: F32, right: npt.NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Clips by the confidence of their answer in 15 equal parts of [0, 1], those that hold none left out.

    Of float (n, classes) logits; ``right`` bool (n,) says which answers are. Source: Guo et al., "On Calibration of
    Modern Neural Networks" (2017).
    """
    confidence = np.exp(_log_softmax(logits).max(axis=1))
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    filled = [bins == i for i in np.unique(bins)]
    return tuple(Bin(int(b.sum()), float(confidence[b].mean()), float(right[b].mean())) for b in filled)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Mean distance of confidence and accuracy over all clips."""
    return sum(b.clips * abs(b.confidence - b.accuracy) for b in bins) / sum(b.clips for b in bins)


def _log_softmax(logits: F32) -> F64:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    found: F64 = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
