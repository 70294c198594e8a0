"""Quantisation-aware training: go on training with every rounding of the integer graph in the forward pass.

Starts from calibrated ranges. Ranges and BatchNorm statistics move at first and are held for the last part, so that
what is lowered is what was trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import lightning
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from tinyscene.runtime.spec import FrontendSpec
from tinyscene.training.recipe import FitSettings

from .fake_quant import QuantNet
from .fold import fold
from .ptq import FOR_TRAINING, calibrate

if TYPE_CHECKING:
    from tinyscene.training.data.tau22 import Dataset
    from tinyscene.training.distillation.soft_targets import SoftTargets

MOVING_SHARE = 0.6  # of the epochs; the rest trains against held ranges and statistics


class HoldRanges(Callback):
    """Holds ranges and statistics from epoch ``from_epoch`` on."""

    def __init__(self, net: QuantNet, from_epoch: int) -> None:
        self.net, self.from_epoch = net, from_epoch

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.net.freeze(trainer.current_epoch >= self.from_epoch)


def quantise_aware(
    model: nn.Module,
    *,
    frontend: FrontendSpec,
    settings: FitSettings,
    dataset: Dataset,
    soft_targets: SoftTargets | None,
    run_dir: Path,
    seed: int,
    calibration: Iterable[Tensor],
    resume: bool = False,
) -> QuantNet:
    """The trained, frozen network, ready to lower; ``model`` itself is left as it is.

    Args:
        calibration: float32 (batch, 1, mel, time) batches that the ranges start from.
        soft_targets: what the distillation goes on with; labels alone if None.

    Raises:
        ExportError: the network has no integer form. TrainingError: training diverged or its folder is another run's.
    """
    from tinyscene.training.fit.fit import fit
    from tinyscene.training.models.network import Network
    from tinyscene.training.run import Run

    net = QuantNet(fold(model, (frontend.n_mels, frontend.n_frames)))
    calibrate(net, calibration, floor=frontend.floor, ways=FOR_TRAINING)
    net.freeze(False)
    fit(
        Network(net, frontend),
        settings,
        Run(dataset, run_dir, seed, resume),
        soft_targets=soft_targets,
        callbacks=[HoldRanges(net, round(settings.epochs * MOVING_SHARE))],
    )
    net.freeze()
    return net.eval()
