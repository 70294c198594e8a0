"""DS-CNN: a convolution over a patch of the log-mel, then depthwise separable convolutions of one width.

Source: Zhang et al., "Hello edge: keyword spotting on microcontrollers" (2017).
"""

from __future__ import annotations

from torch import Tensor, nn

from .config import ModelConfig
from .layers import ConvPadded

BLOCKS = 4
STEM_KERNEL = (4, 10)  # bins, frames


def _conv(conv: ConvPadded) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())


class DSCNN(nn.Module):
    """float32 (batch, 1, n_mels, n_frames) to logits (batch, n_classes)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, pad = config.base_channels, config.padding
        self.stem = _conv(ConvPadded(1, width, STEM_KERNEL, 2, padding=pad))
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    _conv(ConvPadded(width, width, 3, groups=width, padding=pad)),
                    _conv(ConvPadded(width, width, 1, padding=pad)),
                )
                for _ in range(BLOCKS)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, config.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.blocks(self.stem(x))).flatten(1))
        return logits
