"""Widths and feature maps of CP-Mobile, and the cost of the int8 network: by formula, without building it.

The count equals that of ``tinyscene check`` by the rule ``dcase``: BatchNorm folded; 1 B per weight and 4 B per bias,
also for GRN and strided shortcuts, which are depthwise convolutions in the graph; MACs of a convolution are its weights
and biases times its output positions. The export removes channels that became constant in training, so that a bundle
may be smaller. Works on many networks at once and needs no PyTorch. Refuses other networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.arrays import I64, Bools
from tinyscene.runtime.spec import FrontendSpec

from ..errors import TrainingError
from .config import STAGES, ModelConfig
from .program import Program

BLOCKS = tuple(block for blocks in STAGES.values() for block in blocks)
TAPS = 9  # of every convolution that is not 1x1
BIAS_BYTES = 4
Strides = Mapping[str, tuple[int, int]]  # (freq, time) of a block


def make_divisible(value: float, divisor: int = 8) -> int:
    """``value`` rounded to a positive multiple of ``divisor``, not below 90 % of ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def stage_channels(config: ModelConfig) -> tuple[int, int, int, int]:
    """Channels after the stem and after each of the three stages."""
    base, mult = config.base_channels, config.channels_multiplier
    s1, s2, s3 = (make_divisible(base * mult**i) for i in range(3))
    return make_divisible(base), s1, s2, s3


@dataclass(frozen=True, eq=False)
class Widths:
    """Channels of n networks: after the stem and each block, int64 (n, 7), and between expansion and projection of
    each block, int64 (n, 6)."""

    channels: I64
    expanded: I64

    @classmethod
    def of(cls, configs: Sequence[ModelConfig]) -> Widths:
        rows, wide = [], []
        for config in configs:
            stem, *stages = stage_channels(config)
            after = [out for out, blocks in zip(stages, STAGES.values(), strict=True) for _ in blocks]
            rows.append([stem, *after])
            wide.append([make_divisible(c * config.expansion_rate) for c in rows[-1][:-1]])
        return cls(np.array(rows, np.int64), np.array(wide, np.int64))


@dataclass(frozen=True, eq=False)
class Maps:
    """Feature maps for m placements of strides: bins and frames after each of the two stem convolutions and each block,
    int64 (8, m) each, and which blocks have a stride, bool (6, m)."""

    freq: I64
    time: I64
    strided: Bools

    @classmethod
    def of(cls, placements: Sequence[Strides], frontend: FrontendSpec) -> Maps:
        sizes = np.empty((2, 8, len(placements)), np.int64)
        for column, strides in enumerate(placements):
            size = (frontend.n_mels, frontend.n_frames)
            for row, stride in enumerate(((2, 2), (2, 2), *(strides.get(block, (1, 1)) for block in BLOCKS))):
                size = (-(-size[0] // stride[0]), -(-size[1] // stride[1]))  # with either padding
                sizes[:, row, column] = size
        strided = [[max(strides.get(block, (1, 1))) > 1 for strides in placements] for block in BLOCKS]
        return cls(sizes[0], sizes[1], np.array(strided))


def int8_costs(widths: Widths, maps: Maps, *, grn: bool, n_classes: int) -> tuple[I64, I64]:
    """Parameter bytes and MACs of every width with every map: int64 (n, m) each."""
    inputs, outputs, wide = widths.channels[:, :-1], widths.channels[:, 1:], widths.expanded
    stem, last = widths.channels[:, 0], widths.channels[:, -1]
    weights, biases = np.zeros((2, len(stem), 8), np.int64)  # by the feature map they are applied to
    biases[:, 0], biases[:, 1] = stem // 4, stem
    weights[:, 0], weights[:, 1] = TAPS * (stem // 4), TAPS * (stem // 4) * stem
    weights[:, 1:7] += inputs * wide
    biases[:, 1:7] += wide
    weights[:, 2:] += TAPS * wide + wide * outputs
    biases[:, 2:] += wide + outputs
    weights[:, 7] += last * n_classes
    biases[:, 7] += n_classes
    macs = (weights + biases) @ (maps.freq * maps.time)
    n_bytes = (weights + BIAS_BYTES * biases).sum(axis=1)
    if grn:  # gamma and beta, each as weights and biases of a 1x1 depthwise convolution
        n_bytes += 2 * (1 + BIAS_BYTES) * outputs.sum(axis=1)
    shortcut = np.where(inputs == outputs, (TAPS + BIAS_BYTES) * outputs, 0)
    return n_bytes[:, None] + shortcut @ maps.strided.astype(np.int64), macs


def int8_cost(config: ModelConfig | Program, frontend: FrontendSpec) -> tuple[int, int]:
    """Parameter bytes and MACs of one CP-Mobile; raises TrainingError for another network."""
    if isinstance(config, Program) or config.arch != "cp_mobile":
        raise TrainingError(f"network '{config.name}'", "has no cost formula", expected="a CP-Mobile")
    widths, maps = Widths.of([config]), Maps.of([config.strides], frontend)
    n_bytes, macs = int8_costs(widths, maps, grn=config.grn, n_classes=config.n_classes)
    return int(n_bytes[0, 0]), int(macs[0, 0])
