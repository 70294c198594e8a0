"""Figures of merit from logits, over clips whose scene and device are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .data import Record
from .errors import TrainingError

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Metrics:
    """Accuracies in [0, 1]; ``confusion[i][j]`` counts clips of label i taken for label j; ``log_loss`` in nats."""

    clips: int
    accuracy: float
    per_device: dict[str, float]
    per_class: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    log_loss: float

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
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    devices = np.array([r.device for r in records])
    return Metrics(
        clips=len(records),
        accuracy=float(right.mean()),
        per_device={d: float(right[devices == d].mean()) for d in sorted(set(devices.tolist()))},
        per_class={label: float(right[truth == i].mean()) for i, label in enumerate(labels) if (truth == i).any()},
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        log_loss=float(-log_probability[np.arange(len(truth)), truth].mean()),
    )
