"""The training step of any network with log-mel inputs: log-mel of the batch, augmentation, loss, optimiser.

Random draws of an epoch are derived from seed and epoch only, so that a run resumed between two epochs equals one that
was not interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime.arrays import INT16_FULL_SCALE

from ..distillation.features import FeatureLoss
from ..distillation.soft_targets import distillation_loss
from ..models.network import Network
from ..recipe import FitSettings, Schedule
from ..transforms.augment import PARTNER, augment_spectrograms, augment_waveforms, jittered_f_max
from ..transforms.log_mel import TorchLogMel
from .batches import Batch
from .compiled import compiled

# From the outputs of a network (batch, ...) and the batch to the loss of each clip, (batch,).
Objective = Callable[[Tensor, Batch], Tensor]


def learning_rate_factor(schedule: Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Factor on the learning rate for optimiser step ``step`` (from 0)."""
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "ramp":
        epoch = step // steps_per_epoch
        if epoch < schedule.warmup_epochs:
            return math.exp(-5.0 * (1.0 - epoch / schedule.warmup_epochs) ** 2)
        progress = min(max(epoch - schedule.constant_epochs, 0) / schedule.decay_epochs, 1.0)
        return 1.0 - (1.0 - schedule.final_factor) * progress
    warmup = schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min((step - warmup) / max(1.0, epochs * steps_per_epoch - warmup), 1.0)
    return schedule.final_factor + (1 - schedule.final_factor) * 0.5 * (1 + math.cos(math.pi * progress))


class SceneModule(lightning.LightningModule):
    """Trains a network on batches of a view (:mod:`tinyscene.training.transforms.views`).

    Without an ``objective`` the loss is the distillation loss towards the batch's ``teacher``, float32 (batch,
    classes), or cross-entropy if the batch has none. ``features`` is added, and its projection is trained as well.
    """

    impulse_responses: Tensor | None

    def __init__(
        self,
        network: Network,
        settings: FitSettings,
        seed: int,
        impulse_responses: Tensor | None = None,
        objective: Objective | None = None,
        features: FeatureLoss | None = None,
    ) -> None:
        super().__init__()
        model = network.model
        self.model = model
        self._step = compiled(model) if settings.compile else model.__call__  # not a second module: weights are shared
        self.objective = objective or self._default_objective
        self.features = features
        self.log_mel = TorchLogMel(network.frontend)
        self.settings, self.seed = settings, seed
        self.register_buffer("impulse_responses", impulse_responses, persistent=False)
        self.random = torch.Generator()
        self.steps_per_epoch = 1
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}

    def on_train_epoch_start(self) -> None:
        seed = self.seed * 1_000_003 + self.current_epoch + 500_009 * self.global_rank
        self.random.manual_seed(seed)
        torch.manual_seed(seed)  # for networks with random layers, such as patchout
        self._sums = {"train_loss": 0.0, "feature_loss": 0.0, "train_right": 0.0, "train_clips": 0.0}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        augment, random = self.settings.augment, self.random
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            samples = augment_waveforms(batch, self.impulse_responses)
            jitter = augment.f_max_jitter_hz
            f_max_hz = jittered_f_max(self.log_mel.spec, jitter, random) if jitter else None
            x = augment_spectrograms(self.log_mel(samples, f_max_hz), augment, self.log_mel.spec.norm_std, random)
        logits = self._step(x)
        loss = self._mixed_loss(logits, batch)
        if self.features is not None:
            feature_loss = self.features(samples)
            self._sums["feature_loss"] += float(feature_loss.detach()) * len(logits)
            loss = loss + self.features.settings.weight * feature_loss
        count = len(logits)
        self._sums["train_loss"] += float(loss.detach()) * count
        self._sums["train_right"] += float((logits.detach().argmax(1) == batch["target"]).sum())
        self._sums["train_clips"] += count
        return loss

    def _mixed_loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean loss; a clip mixed from two has the mixed loss of both."""
        loss = self.objective(outputs, batch)
        if "share" in batch:
            partners = {name.removeprefix(PARTNER): v for name, v in batch.items() if name.startswith(PARTNER)}
            loss = batch["share"] * loss + (1 - batch["share"]) * self.objective(outputs, partners)
        return loss.mean()

    def _default_objective(self, logits: Tensor, batch: Batch) -> Tensor:
        if "teacher" in batch:
            return distillation_loss(logits, batch["teacher"], batch["target"], self.settings.distillation)
        return F.cross_entropy(logits, batch["target"], reduction="none")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits = self.model(self.log_mel(batch["waveform"].float() / INT16_FULL_SCALE))
        accuracy = (logits.argmax(1) == batch["target"]).float().mean()
        self.log("validation_accuracy", accuracy, on_epoch=True, prog_bar=True, batch_size=len(logits), sync_dist=True)
        loss = F.cross_entropy(logits, batch["target"])
        self.log("validation_log_loss", loss, on_epoch=True, batch_size=len(logits), sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Append the record of the epoch; Lightning calls this after the epoch's validation, if it had one."""
        sums = {name: self._over_processes(value) for name, value in self._sums.items()}
        clips = max(sums["train_clips"], 1.0)
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        record: dict[str, float] = {
            "train_loss": sums["train_loss"] / clips,
            "train_accuracy": sums["train_right"] / clips,
            "learning_rate": optimizer.param_groups[0]["lr"],
        }
        if self.features is not None:
            record["feature_loss"] = sums["feature_loss"] / clips
        self.log_dict(record)
        for name in ("validation_accuracy", "validation_log_loss"):
            if name in self.trainer.callback_metrics and self._validated():
                record[name] = float(self.trainer.callback_metrics[name])
        self.history.append({"epoch": float(self.current_epoch), **record})

    def _over_processes(self, value: float) -> float:
        total = torch.tensor(value, dtype=torch.float32 if self.device.type == "mps" else torch.float64)
        return float(self.trainer.strategy.reduce(total.to(self.device), reduce_op="sum"))

    def _validated(self) -> bool:
        every = self.trainer.check_val_every_n_epoch
        return every is not None and (self.current_epoch + 1) % every == 0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        s = self.settings
        kind = torch.optim.Adam if s.optimizer == "adam" else torch.optim.AdamW
        trained = [*self.model.parameters()]
        if self.features is not None and self.features.projection is not None:
            trained += self.features.projection.parameters()
        optimizer = kind(trained, lr=s.learning_rate, weight_decay=s.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(s.schedule, step, self.steps_per_epoch, s.epochs)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])
