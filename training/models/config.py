"""Configuration of a network: one frozen record, and the table of named networks.

Refuses unknown names and fields. Sources: the 2023 DCASE Task 1 winner (``cpm23-*``), the DCASE 2024/25 baseline
(``dcase25``), the receptive-field-regularised CP-ResNet with 128k parameters and wider, PaSST, and the papers that the
files of DS-CNN, MobileNetV3, TC-ResNet, BC-ResNet and TF-SepNet name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..errors import TrainingError

if TYPE_CHECKING:
    from torch import nn

STAGES = {"s1": ("b1", "b2", "b3"), "s2": ("b4", "b5"), "s3": ("b6",)}  # blocks of CP-Mobile
CPM23_STRIDES = {"b2": (2, 2), "b4": (2, 1)}
DCASE25_STRIDES = {"b3": (1, 2), "b4": (2, 1)}


_Blocks = Annotated[int, Field(ge=1, le=64)]


class ModelConfig(BaseModel):
    """Sizes of one network. ``strides`` are (freq, time) of the depthwise convolution of a block.

    CP-Mobile uses ``channels_multiplier``, ``expansion_rate``, ``grn``, ``strides`` and ``padding``. CP-ResNet uses
    ``rho`` (receptive field), ``channels_multiplier``, ``blocks_per_stage``, ``groups_s1`` to ``groups_s3`` (groups of
    the convolutions of a stage), ``cut_channels_s2`` and ``cut_channels_s3``.
    PaSST uses ``embed_dim``, ``depth``, ``heads`` and ``patchout_freq``, rows of patches dropped in training. The other
    networks use ``base_channels``; DS-CNN and MobileNetV3 also ``padding``, TC-ResNet ``n_mels``, its input channels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arch: Literal[
        "cp_mobile",
        "cp_resnet",
        "passt",
        "ds_cnn",
        "mobilenet_v3",
        "tc_resnet",
        "bc_resnet",
        "bc_resnet_asc",
        "tf_sepnet",
    ]
    n_classes: int = Field(default=10, ge=2, le=65_536)
    base_channels: int = Field(default=32, ge=1, le=4096)
    channels_multiplier: float = Field(default=2.0, gt=0, le=64)
    expansion_rate: float = Field(default=2.0, gt=0, le=64)
    grn: bool = True
    strides: dict[str, tuple[int, int]] = Field(default_factory=lambda: dict(CPM23_STRIDES))
    padding: Literal["torch", "same"] = "torch"
    rho: int = Field(default=8, ge=1, le=64)
    blocks_per_stage: tuple[_Blocks, _Blocks, _Blocks] = (2, 1, 1)
    groups_s1: int = Field(default=1, ge=1, le=4096)
    groups_s2: int = Field(default=2, ge=1, le=4096)
    groups_s3: int = Field(default=1, ge=1, le=4096)
    cut_channels_s2: int = Field(default=0, ge=0, le=65_536)
    cut_channels_s3: int = Field(default=0, ge=0, le=65_536)
    embed_dim: int = Field(default=768, ge=1, le=16_384)
    depth: int = Field(default=12, ge=1, le=256)
    heads: int = Field(default=12, ge=1, le=1024)
    patchout_freq: int = Field(default=0, ge=0, lt=12)
    n_mels: int = Field(default=256, ge=1, le=4096)

    @field_validator("strides")
    @classmethod
    def _strides_of_blocks(cls, value: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        known = [block for blocks in STAGES.values() for block in blocks]
        for block, stride in value.items():
            if block not in known:
                raise ValueError(f"unknown block '{block}', known: {' | '.join(known)}")
            if not 1 <= min(stride) <= max(stride) <= 64:
                raise ValueError(f"a stride of {block} is not in 1 to 64")
        return value

    @property
    def name(self) -> str:
        """Name of a network that is not in the table."""
        sizes = (self.base_channels, self.channels_multiplier, self.expansion_rate)
        return "-".join([self.arch.replace("_", "-"), *(f"{size:g}" for size in sizes)])


def _cpm23(base: int, multiplier: float, expansion: float) -> ModelConfig:
    return ModelConfig(
        arch="cp_mobile", base_channels=base, channels_multiplier=multiplier, expansion_rate=expansion, grn=True
    )


MODELS: dict[str, ModelConfig] = {
    "cpm23-8": _cpm23(8, 2.0, 2.0),
    "cpm23-16": _cpm23(16, 1.5, 1.8),
    "cpm23-24": _cpm23(24, 1.5, 1.9),
    "cpm23-32s": _cpm23(32, 1.75, 1.9),
    "cpm23-32m": _cpm23(32, 1.8, 2.1),
    "cpm23-32l": _cpm23(32, 2.3, 3.0),
    "dcase25": ModelConfig(
        arch="cp_mobile",
        base_channels=32,
        channels_multiplier=1.8,
        expansion_rate=2.1,
        grn=False,
        strides=dict(DCASE25_STRIDES),
    ),
    "cpresnet-128k": ModelConfig(arch="cp_resnet", base_channels=32, channels_multiplier=2.0, cut_channels_s3=36),
    "cpresnet-505k": ModelConfig(arch="cp_resnet", base_channels=64, channels_multiplier=2.0, cut_channels_s3=72),
    "cpresnet-33k": ModelConfig(arch="cp_resnet", base_channels=16, channels_multiplier=2.0, cut_channels_s3=18),
    "ds-cnn-64": ModelConfig(arch="ds_cnn", base_channels=64),
    "mobilenetv3-small-8": ModelConfig(arch="mobilenet_v3", base_channels=8),
    "tc-resnet8": ModelConfig(arch="tc_resnet", base_channels=16),
    "bc-resnet-14": ModelConfig(arch="bc_resnet", base_channels=14),
    "bc-resnet-asc-38": ModelConfig(arch="bc_resnet_asc", base_channels=38),
    "tf-sepnet-60": ModelConfig(arch="tf_sepnet", base_channels=60),
    "passt-s": ModelConfig(arch="passt", patchout_freq=6),
    "passt-tiny": ModelConfig(arch="passt", embed_dim=48, depth=2, heads=3, patchout_freq=6),
}


def named_config(name: str, *, n_classes: int = 10, padding: Literal["torch", "same"] = "torch") -> ModelConfig:
    """The network of that name; raises TrainingError with the known names."""
    if name not in MODELS:
        raise TrainingError(f"model '{name}'", "unknown", expected=" | ".join(MODELS), next_step="pick one of these")
    return MODELS[name].model_copy(update={"n_classes": n_classes, "padding": padding})


def parameter_count(model: nn.Module) -> int:
    """Number of trainable and frozen parameters, without BatchNorm statistics."""
    return sum(p.numel() for p in model.parameters())
