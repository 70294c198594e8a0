"""Learned fusion of teachers (scheme P2, arXiv 2512.13905): how much to believe which teacher, clip by clip.

Two heads are trained with cross-entropy of the fused logits: ``z1``, a small network that hears the clip and weighs the
teachers, and ``z2``, a light MLP that sees all logits and weighs the teachers class by class. They learn from
out-of-fold logits, for a teacher is surer of clips it has met. ``z1``, ``z2`` or the mean of their weights is then
chosen on the validation part. Refuses a data set without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.runtime.arrays import F32

from ..data.tau22 import Clips, Dataset
from ..distillation.soft_targets import SoftTargets
from ..errors import TrainingError
from ..fit.fit import predict_logits
from ..fit.network import Network, train_network
from ..recipe import Fusion

Weigher = Callable[[Clips, F32], F32]


@dataclass(frozen=True)
class Fused:
    """The head chosen and what every candidate reached on validation (log loss in nats)."""

    choice: str
    validation: dict[str, dict[str, float]]
    weigher: Weigher

    def fuse(self, clips: Clips, logits: F32) -> F32:
        """Logits (n, teachers, classes) of ``clips`` to fused ones (n, classes)."""
        return _fused(self.weigher, clips, logits)


def fuse(weights: Tensor, logits: Tensor) -> Tensor:
    """Weights (batch, teachers[, classes]) and logits (batch, teachers, classes) to fused logits (batch, classes)."""
    return ((weights if weights.ndim == 3 else weights[:, :, None]) * logits).sum(dim=1)


class LogitsWeigher(nn.Module):
    """z2: logits float32 (batch, teachers, classes) to weights of the same shape, which sum to 1 over the teachers.

    It starts from equal weights.
    """

    def __init__(self, teachers: int, classes: int, hidden: int) -> None:
        super().__init__()
        last = nn.Linear(hidden, teachers * classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(teachers * classes, hidden), nn.ReLU(), last)

    def forward(self, logits: Tensor) -> Tensor:
        return self.layers(logits.log_softmax(dim=2)).view(logits.shape).softmax(dim=1)


def learn_fusion(
    settings: Fusion,
    dataset: Dataset,
    run_dir: Path,
    *,
    out_of_fold: F32,
    validation: F32,
    seed: int,
    resume: bool,
    progress: bool,
) -> Fused:
    """Train both heads on ``out_of_fold`` logits of the training clips and choose on those of ``validation``.

    Both are float32 (clips, teachers, classes).
    """
    if not len(dataset.validation):
        raise TrainingError("fusion", "no validation part to choose on", next_step="use data with more places")
    hears = _train_z1(settings, dataset, out_of_fold, run_dir, seed, resume, progress)
    sees = train_z2(settings, out_of_fold, dataset.train.targets, seed)
    weighers: dict[str, Weigher] = {
        "z1": lambda clips, logits: _weights_z1(hears, clips),
        "z2": lambda clips, logits: _weights_z2(sees, logits),
    }
    weighers["z1+z2"] = lambda clips, logits: (weighers["z1"](clips, logits) + weighers["z2"](clips, logits)) / 2
    equal: Weigher = lambda clips, logits: np.full_like(logits, 1 / logits.shape[1])  # noqa: E731
    reached = {
        name: _score(_fused(weigher, dataset.validation, validation), dataset.validation.targets)
        for name, weigher in {"equal": equal, **weighers}.items()
    }
    choice = min(weighers, key=lambda name: reached[name]["log_loss"])
    return Fused(choice, reached, weighers[choice])


def train_z2(settings: Fusion, logits: F32, targets: np.ndarray, seed: int) -> LogitsWeigher:
    """z2 by Adam on shuffled batches of out-of-fold logits (n, teachers, classes) and labels int64 (n,)."""
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    head = LogitsWeigher(logits.shape[1], logits.shape[2], settings.hidden)
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    x, y = torch.from_numpy(logits), torch.from_numpy(targets)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(x), generator=random).split(settings.batch_size):
            loss = F.cross_entropy(fuse(head(x[rows]), x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head.eval()


def _train_z1(
    settings: Fusion, dataset: Dataset, logits: F32, run_dir: Path, seed: int, resume: bool, progress: bool
) -> Network:
    """z1 through the ordinary harness: its outputs are weights, its loss that of the fused logits."""
    names = tuple(r.filename for r in dataset.train.records)
    nobody = dataset.validation.take(np.zeros(0, np.int64))  # its outputs are no answers that could be validated
    network, _ = train_network(
        settings.listener,
        replace(dataset, validation=nobody),
        run_dir / "z1",
        seed=seed,
        resume=resume,
        progress=progress,
        n_outputs=logits.shape[1],
        soft_targets=SoftTargets(names, logits),
        objective=fused_cross_entropy,
    )
    return network


def fused_cross_entropy(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Loss of each clip, (batch,), when ``outputs`` (batch, teachers), after softmax, weigh the batch's teachers."""
    return F.cross_entropy(fuse(outputs.softmax(dim=1), batch["teacher"]), batch["target"], reduction="none")


def _weights_z1(network: Network, clips: Clips) -> F32:
    outputs = predict_logits(network.model, network.frontend, clips.waveforms)
    weights: F32 = torch.from_numpy(outputs).softmax(dim=1)[:, :, None].numpy()
    return weights


def _weights_z2(head: LogitsWeigher, logits: F32) -> F32:
    with torch.no_grad():
        weights: F32 = head(torch.from_numpy(logits)).numpy()
    return weights


def _fused(weigher: Weigher, clips: Clips, logits: F32) -> F32:
    fused: F32 = (weigher(clips, logits) * logits).sum(axis=1)
    return fused


def _score(logits: F32, targets: np.ndarray) -> dict[str, float]:
    loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    return {"accuracy": float((logits.argmax(axis=1) == targets).mean()), "log_loss": float(loss)}
