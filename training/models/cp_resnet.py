"""CP-ResNet with a limited receptive field; used as a teacher only.

Source: Koutini et al., "Receptive field regularization techniques for audio classification" (2021), in the grouped
and reduced form of 128k parameters used in DCASE 2022 and 2023.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from ..errors import TrainingError
from .config import ModelConfig
from .layers import ConvPadded

# Max pools of stage 1, by the number of blocks before them: (freq, time) strides.
STAGE1_POOLS = {0: (2, 2), 1: (2, 1), 2: (2, 1), 4: (2, 1)}
Kernels = tuple[int, int]  # of the first and the second convolution of a block


def kernel_sizes(rho: int) -> tuple[list[Kernels], list[Kernels], list[Kernels]]:
    """Kernels of the first two blocks of stages 1, 2 and 3 for receptive field ``rho``; further blocks are 1x1."""
    e = rho - 4
    stage1 = [(3, 1), (3 - 2 * (-e > 2), 3 - 2 * (-e > 1))]
    stage2 = [(3 - 2 * (-e > 0), 1 + 2 * (e > 0)), (1 + 2 * (e > 1), 1 + 2 * (e > 2))]
    stage3 = [(1 + 2 * (e > 3), 1 + 2 * (e > 4)), (1 + 2 * (e > 5), 1 + 2 * (e > 6))]
    return stage1, stage2, stage3


def kernels_of(config: ModelConfig) -> list[list[Kernels]]:
    """Kernels of every block, stage by stage."""
    stages = zip(kernel_sizes(config.rho), config.blocks_per_stage, strict=True)
    return [(kernels + [(1, 1)] * n)[:n] for kernels, n in stages]


def stage_widths(config: ModelConfig) -> tuple[int, int, int]:
    """Channels of the three stages; raises TrainingError where all of a stage are cut."""
    base, mult = config.base_channels, config.channels_multiplier
    widths = (base, int(base * mult) - config.cut_channels_s2, int(base * mult**2) - config.cut_channels_s3)
    if min(widths) < 1:
        raise TrainingError(f"network '{config.name}'", "a stage without channels", got=widths)
    return widths


class Shortcut(nn.Module):
    """1x1 convolution and BatchNorm, used where the number of channels changes."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.conv = ConvPadded(in_channels, out_channels, 1, groups=groups)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        return y


class BasicBlock(nn.Module):
    """Two convolutions with BatchNorm and a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, kernels: Kernels, groups: int) -> None:
        super().__init__()
        self.conv1 = ConvPadded(in_channels, out_channels, kernels[0], groups=groups)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = ConvPadded(out_channels, out_channels, kernels[1], groups=groups)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = Shortcut(in_channels, out_channels, groups) if in_channels != out_channels else None
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        activated: Tensor = self.relu2(y + (x if self.shortcut is None else self.shortcut(x)))
        return activated


class CPResNet(nn.Module):
    """float32 (batch, 1, n_mels, n_frames) to logits (batch, n_classes)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        base, widths, kernels = config.base_channels, stage_widths(config), kernels_of(config)
        self.in_c = nn.Sequential(ConvPadded(1, base, 5, 2, padding=1), nn.BatchNorm2d(base), nn.ReLU())
        self.stage1 = _stage(base, widths[0], kernels[0], config.groups_s1, STAGE1_POOLS)
        self.stage2 = _stage(widths[0], widths[1], kernels[1], config.groups_s2, {})
        self.stage3 = _stage(widths[1], widths[2], kernels[2], config.groups_s3, {})
        self.feed_forward = nn.Sequential(
            ConvPadded(widths[2], config.n_classes, 1), nn.BatchNorm2d(config.n_classes), nn.AdaptiveAvgPool2d(1)
        )
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.feed_forward(self.stage3(self.stage2(self.stage1(self.in_c(x)))))
        return logits.flatten(1)

    def _initialise(self) -> None:
        """Fixup-like: He initialisation scaled by depth, and residual branches that start at zero."""
        blocks = [m for m in self.modules() if isinstance(m, BasicBlock)]
        for conv in (m for m in self.modules() if isinstance(m, ConvPadded)):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        for block in blocks:
            block.conv1.weight.data.mul_(1.0 / math.sqrt(len(blocks)))
            nn.init.zeros_(block.conv2.weight)


def _stage(
    in_channels: int,
    out_channels: int,
    kernels: list[Kernels],
    groups: int,
    pools: dict[int, tuple[int, int]],
) -> nn.Sequential:
    if in_channels % groups or out_channels % groups:
        got = f"{in_channels} and {out_channels} channels, {groups} groups"
        raise TrainingError("CP-ResNet", "groups that do not divide the channels of a stage", got=got)
    stage = nn.Sequential()
    for index, sizes in enumerate(kernels):
        if index in pools:
            stage.add_module(f"pool{index}", nn.MaxPool2d(pools[index]))
        stage.add_module(f"block{index + 1}", BasicBlock(in_channels, out_channels, sizes, groups))
        in_channels = out_channels
    if len(kernels) in pools:
        stage.add_module(f"pool{len(kernels)}", nn.MaxPool2d(pools[len(kernels)]))
    return stage
