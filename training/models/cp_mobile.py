"""CP-Mobile, with GRN (2023 winner) and without (DCASE 2024/25 baseline), under the tensor names of both.

Sources: Schmid et al., "Distilling the knowledge of transformers and CNNs with CP-Mobile" (DCASE 2023), and the
published baseline of DCASE 2024/25 Task 1.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from .config import STAGES, ModelConfig
from .layers import GRN, AvgPool3x3, ConvPadded
from .sizes import make_divisible, stage_channels


def _conv_norm(conv: ConvPadded, *, activation: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(conv.out_channels)]
    if activation:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Block(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; shortcut where the channels are equal; GRN; ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int], config: ModelConfig) -> None:
        super().__init__()
        wide = make_divisible(in_channels * config.expansion_rate)
        pad = config.padding
        self.block = nn.Sequential(
            _conv_norm(ConvPadded(in_channels, wide, 1, padding=pad)),
            _conv_norm(ConvPadded(wide, wide, 3, stride, groups=wide, padding=pad)),
            _conv_norm(ConvPadded(wide, out_channels, 1, padding=pad), activation=False),
        )
        self.add = in_channels == out_channels
        self.pool = AvgPool3x3(stride, pad) if self.add and stride != (1, 1) else None
        self.after_block_norm = GRN() if config.grn else None
        self.after_block_activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        if self.add:
            y = y + (x if self.pool is None else self.pool(x))
        if self.after_block_norm is not None:
            y = self.after_block_norm(y)
        activated: Tensor = self.after_block_activation(y)
        return activated


class CPMobile(nn.Module):
    """float32 (batch, 1, n_mels, n_frames) to logits (batch, n_classes)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        stem, *stages = stage_channels(config)
        self.in_c = nn.Sequential(
            _conv_norm(ConvPadded(1, stem // 4, 3, 2, padding=config.padding)),
            _conv_norm(ConvPadded(stem // 4, stem, 3, 2, padding=config.padding)),
        )
        channels = stem
        self.stages = nn.Sequential()
        for (stage, blocks), out_channels in zip(STAGES.items(), stages, strict=True):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for block in blocks:
                layers[block] = Block(channels, out_channels, config.strides.get(block, (1, 1)), config)
                channels = out_channels
            self.stages.add_module(stage, nn.Sequential(layers))
        self.feed_forward = nn.Sequential(
            ConvPadded(channels, config.n_classes, 1, padding=config.padding),
            nn.BatchNorm2d(config.n_classes),
            nn.AdaptiveAvgPool2d(1),
        )
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.feed_forward(self.stages(self.in_c(x)))
        return logits.flatten(1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
