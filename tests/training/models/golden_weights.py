"""The synthetic weights and inputs behind the golden logits, made by the published rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# Golden file -> (our name, seed of the input, mels, frames).
GOLDEN = {
    "cpmobile_grn_8_2.0_2.0": ("cpm23-8", 7, 256, 64),
    "cpmobile_grn_16_1.5_1.8": ("cpm23-16", 7, 256, 64),
    "cpmobile_grn_24_1.5_1.9": ("cpm23-24", 7, 256, 64),
    "cpmobile_grn_32_1.75_1.9": ("cpm23-32s", 7, 256, 64),
    "cpmobile_grn_32_1.8_2.1": ("cpm23-32m", 7, 256, 64),
    "cpmobile_grn_32_2.3_3.0": ("cpm23-32l", 7, 256, 64),
    "baseline25": ("dcase25", 9, 256, 65),
    "cpresnet_128k": ("cpresnet-128k", 8, 256, 43),
    "passt_s": ("passt-s", 10, 128, 100),
}


def golden_shapes(folder: Path, name: str) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((folder / f"{name}.shapes.json").read_text())
    return shapes


def golden_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with every float tensor replaced by the rule's values."""
    result = dict(state)
    for i, name in enumerate(sorted(state)):
        if not state[name].is_floating_point():
            continue
        shape = tuple(state[name].shape)
        a = np.random.default_rng(1000 + i).standard_normal(shape).astype(np.float32)
        if name.endswith("running_var"):
            a = np.abs(a) * 0.5 + 0.5
        elif len(shape) >= 2:
            a = a * np.sqrt(1 / np.prod(shape[1:]))
        else:
            a = a * 0.1 + (1 if name.endswith("weight") else 0)
        result[name] = torch.from_numpy(a.astype(np.float32))
    return result


def golden_input(seed: int, mels: int, frames: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((2, 1, mels, frames)).astype(np.float32))
