"""Learned fusion of teachers (scheme P2, arXiv 2512.13905): per-clip weights of the teachers' logits.

Two heads are trained with the cross-entropy of the fused logits: ``z1``, a small network from the clip's log-mel to one
weight per teacher, and ``z2``, a light MLP from all logits to one weight per teacher and class. They are trained on
out-of-fold logits, because a teacher is overconfident on its training clips. ``z1``, ``z2`` or the mean of their
weights is then selected on the validation part. Refuses a data set without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.runtime.arrays import F32, I16, I64

from ..data.tau22 import Rows
from ..distillation.soft_targets import SoftTargets
from ..errors import TrainingError
from ..fit.batches import Batch
from ..fit.fit import predict_logits
from ..fit.network import train_network
from ..models.network import Network
from ..recipe import Fusion
from ..run import Run
from ..transforms.views import View

Waveforms = I16 | Rows | View
Weighting = Callable[[Waveforms, F32], F32]  # waveforms and logits (n, teachers, classes) to weights of that shape


@dataclass(frozen=True)
class ValidationScore:
    """Accuracy and log loss in nats on the validation part."""

    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Fused:
    """The selected weighting, and the score of every candidate on the validation part."""

    choice: str
    validation: dict[str, ValidationScore]
    weighting: Weighting

    def fuse(self, waveforms: Waveforms, logits: F32) -> F32:
        """Logits (n, teachers, classes) of the clips to fused ones (n, classes)."""
        return _fused(self.weighting, waveforms, logits)


def fuse(weights: Tensor, logits: Tensor) -> Tensor:
    """Weights (batch, teachers[, classes]) and logits (batch, teachers, classes) to fused logits (batch, classes)."""
    return ((weights if weights.ndim == 3 else weights[:, :, None]) * logits).sum(dim=1)


class LogitsHead(nn.Module):
    """z2: logits float32 (batch, teachers, classes) to weights of the same shape, which sum to 1 over the teachers.

    Initial weights are equal.
    """

    def __init__(self, teachers: int, classes: int, hidden: int) -> None:
        super().__init__()
        last = nn.Linear(hidden, teachers * classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(teachers * classes, hidden), nn.ReLU(), last)

    def forward(self, logits: Tensor) -> Tensor:
        scores: Tensor = self.layers(logits.log_softmax(dim=2))
        return scores.view(logits.shape).softmax(dim=1)


def learn_fusion(settings: Fusion, run: Run, *, out_of_fold: F32, validation: F32) -> Fused:
    """Train both heads and select a weighting.

    Args:
        out_of_fold: logits of the training clips, float32 (clips, teachers, classes).
        validation: logits of the validation clips, in the same form.

    Raises:
        TrainingError: the data set has no validation part.
    """
    held_out = run.dataset.validation
    if not len(held_out):
        raise TrainingError("fusion", "no validation part to select on", next_step="use data with more places")
    z1 = _train_z1(settings, run, out_of_fold)
    z2 = train_z2(settings, out_of_fold, run.dataset.train.targets, run.seed)

    def equal(waveforms: Waveforms, logits: F32) -> F32:
        return np.full_like(logits, 1 / logits.shape[1])

    def by_z1(waveforms: Waveforms, logits: F32) -> F32:
        return _weights_z1(z1, waveforms)

    def by_z2(waveforms: Waveforms, logits: F32) -> F32:
        return _weights_z2(z2, logits)

    def by_both(waveforms: Waveforms, logits: F32) -> F32:
        return np.float32(0.5) * (by_z1(waveforms, logits) + by_z2(waveforms, logits))

    candidates: dict[str, Weighting] = {"z1": by_z1, "z2": by_z2, "z1+z2": by_both}
    scores = {
        name: _score(_fused(weighting, held_out.waveforms, validation), held_out.targets)
        for name, weighting in {"equal": equal, **candidates}.items()
    }
    choice = min(candidates, key=lambda name: scores[name].log_loss)
    return Fused(choice, scores, candidates[choice])


def train_z2(settings: Fusion, logits: F32, targets: I64, seed: int) -> LogitsHead:
    """Train z2 with AdamW on shuffled batches of out-of-fold logits (n, teachers, classes) and labels int64 (n,)."""
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    head = LogitsHead(logits.shape[1], logits.shape[2], settings.hidden)
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    x, y = torch.from_numpy(logits), torch.from_numpy(targets)
    for _ in range(settings.epochs):
        for rows in torch.split(torch.randperm(len(x), generator=random), settings.batch_size):
            loss = F.cross_entropy(fuse(head(x[rows]), x[rows]), y[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return head.eval()


def _train_z1(settings: Fusion, run: Run, logits: F32) -> Network:
    """Train z1 as any other network: its outputs are weights, its loss is that of the fused logits."""
    dataset = run.dataset
    names = tuple(r.filename for r in dataset.train.records)
    empty = dataset.validation.take(np.zeros(0, np.int64))  # outputs are weights: they have no validation accuracy
    network, _ = train_network(
        settings.listener,
        run.inside("z1").with_dataset(replace(dataset, validation=empty)),
        n_outputs=logits.shape[1],
        soft_targets=SoftTargets(names, logits),
        objective=fused_cross_entropy,
    )
    return network


def fused_cross_entropy(outputs: Tensor, batch: Batch) -> Tensor:
    """Loss of each clip, (batch,), of the teachers' logits weighted by the softmax of ``outputs`` (batch, teachers)."""
    return F.cross_entropy(fuse(outputs.softmax(dim=1), batch["teacher"]), batch["target"], reduction="none")


def _weights_z1(network: Network, waveforms: Waveforms) -> F32:
    outputs = predict_logits(network.model, network.frontend, waveforms)
    weights: F32 = torch.from_numpy(outputs).softmax(dim=1)[:, :, None].numpy()
    return weights


def _weights_z2(head: LogitsHead, logits: F32) -> F32:
    with torch.no_grad():
        weights: F32 = head(torch.from_numpy(logits)).numpy()
    return weights


def _fused(weighting: Weighting, waveforms: Waveforms, logits: F32) -> F32:
    fused: F32 = (weighting(waveforms, logits) * logits).sum(axis=1)
    return fused


def _score(logits: F32, targets: I64) -> ValidationScore:
    loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    return ValidationScore(accuracy=float((logits.argmax(axis=1) == targets).mean()), log_loss=float(loss))
