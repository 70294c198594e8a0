"""Quantisation-aware training: fine-tunes a network with every rounding of the integer graph in the forward pass.

Starts from calibrated ranges. Ranges and BatchNorm statistics move at first and are frozen for the last epochs, so that
the network that is lowered is the network that was trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightning
from lightning.pytorch.callbacks import Callback

from tinyscene.runtime.spec import FrontendSpec
from tinyscene.training.distillation.soft_targets import SoftTargets
from tinyscene.training.fit.fit import fit
from tinyscene.training.models.network import Network
from tinyscene.training.recipe import FitSettings
from tinyscene.training.run import Run

from .fake_quant import QuantNet

MOVING_SHARE = 0.6  # of the epochs; in the rest ranges and statistics are frozen


@dataclass(frozen=True, eq=False)
class QatTraining:
    """One quantisation-aware training run.

    Attributes:
        frontend: of the network.
        settings: epochs, batches and learning rate.
        run: data, folder and seed.
        soft_targets: logits to distil from; labels alone if None.
    """

    frontend: FrontendSpec
    settings: FitSettings
    run: Run
    soft_targets: SoftTargets | None = None


class FreezeRanges(Callback):
    """Freezes ranges and statistics from epoch ``from_epoch`` on."""

    def __init__(self, net: QuantNet, from_epoch: int) -> None:
        self.net, self.from_epoch = net, from_epoch

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.net.freeze(trainer.current_epoch >= self.from_epoch)


def train_fake_quantised(net: QuantNet, training: QatTraining) -> None:
    """Train a calibrated network in place; leaves it frozen, in evaluation mode, ready to lower.

    Raises:
        TrainingError: training diverged, or its folder holds another run.
    """
    net.freeze(False)
    fit(
        Network(net, training.frontend),
        training.settings,
        training.run,
        soft_targets=training.soft_targets,
        callbacks=[FreezeRanges(net, round(training.settings.epochs * MOVING_SHARE))],
    )
    net.freeze()
    net.eval()
