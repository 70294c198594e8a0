"""Small CP-Mobile networks with statistics as after training, inputs for them, and calibration."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinyscene.export.quantise.fake_quant import QuantNet
from tinyscene.export.quantise.steps import LOWER, POST_TRAINING, QUANTISATION_AWARE, TRAIN, Step, Work, run_steps
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import named_config
from tinyscene.training.models.layers import GRN

SHAPE = (32, 16)
SHAPES = {LOG_MEL: (1, *SHAPE)}
ROUNDED = POST_TRAINING[: POST_TRAINING.index(LOWER)]  # up to weights on their grid
FREE = QUANTISATION_AWARE[: QUANTISATION_AWARE.index(TRAIN)]  # up to ranges that training starts from


def tiny_net(*, grn: bool = True, padding: str = "same", seed: int = 0) -> nn.Module:
    """CP-Mobile of base 8 in evaluation mode; BatchNorm and GRN hold values a trained network might."""
    torch.manual_seed(seed)
    config = named_config("cpm23-8", n_classes=5, padding=padding).model_copy(update={"grn": grn})
    model = build_model(config).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.1, 0.3)
            module.momentum = 0.5
        elif isinstance(module, GRN):
            nn.init.constant_(module.gamma, 0.4)
            nn.init.constant_(module.beta, -0.1 + 0.2 * torch.rand(()).item())
    with torch.no_grad():
        for k in range(6):
            model(inputs(16, seed=100 + k))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return model.eval()


def inputs(count: int, seed: int = 1) -> Tensor:
    """Float32 (count, 1, *SHAPE) with structure along both axes, so that patches are correlated as in log-mels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, SHAPE[0] // 4, SHAPE[1] // 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=SHAPE, mode="bilinear")
    return smooth + 0.3 * torch.randn(count, 1, *SHAPE, generator=generator)


def calibrated(
    model: nn.Module, clips: Tensor, steps: tuple[Step, ...] = ROUNDED, floor: float | None = None
) -> QuantNet:
    """The fake-quantised network after ``steps``, calibrated on clips (batch, 1, *SHAPE)."""
    return run_steps(steps, Work(model, {LOG_MEL: clips}, floor)).folded
