"""Networks from their configurations."""

from __future__ import annotations

from torch import nn

from .config import ModelConfig


def build_model(config: ModelConfig) -> nn.Module:
    """A freshly initialised network: float32 (batch, 1, n_mels, n_frames) to logits (batch, n_classes)."""
    if config.arch == "cp_mobile":
        from .cp_mobile import CPMobile

        return CPMobile(config)
    if config.arch == "passt":
        from .passt import PaSST

        return PaSST(config)
    if config.arch == "ds_cnn":
        from .ds_cnn import DSCNN

        return DSCNN(config)
    if config.arch == "mobilenet_v3":
        from .mobilenet_v3 import MobileNetV3

        return MobileNetV3(config)
    if config.arch == "tc_resnet":
        from .tc_resnet import TCResNet

        return TCResNet(config)
    if config.arch in ("bc_resnet", "bc_resnet_asc"):
        from .bc_resnet import BCResNet

        return BCResNet(config)
    if config.arch == "tf_sepnet":
        from .tf_sepnet import TFSepNet

        return TFSepNet(config)
    from .cp_resnet import CPResNet

    return CPResNet(config)
