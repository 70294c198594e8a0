"""The configuration of a published network from the shapes of its tensors.

A CP-Mobile's channels give its base, multiplier and expansion rate; a CP-ResNet's give its channels, cuts, groups,
blocks and, up to equal kernels, its receptive field. Strides and pools have no tensors: those of the published networks
are assumed and returned in words. Refuses channels and kernels that no configuration gives, and sizes out of range.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from ..errors import TrainingError
from .config import CPM23_STRIDES, DCASE25_STRIDES, MODELS, STAGES, ModelConfig
from .cp_resnet import STAGE1_POOLS, Kernels, kernels_of
from .network_search import Found, shapes_of
from .sizes import make_divisible

LARGEST_MULTIPLIER = 64


def inferred_config(path: Path, found: Found) -> tuple[ModelConfig, str]:
    """The configuration, and what is assumed because tensors do not show it.

    Raises:
        TrainingError: see the module's refusals.
    """
    template = shapes_of(found.template())
    for name, tensor in found.state.items():
        if name in template and (tensor.ndim != template[name].ndim or 0 in tensor.shape):
            expected = f"{template[name].ndim} dimensions"
            raise TrainingError(
                str(path), f"tensor '{name}' has another shape", expected=expected, got=list(tensor.shape)
            )
    infer = _cp_mobile if found.family == "cp_mobile" else _cp_resnet
    try:
        return infer(path, found.state)
    except ValidationError as error:
        got = error.errors()[0]
        raise TrainingError(
            str(path), f"{got['loc'][0]} out of range", expected=got["msg"], got=got["input"]
        ) from error


def _cp_mobile(path: Path, state: Mapping[str, Tensor]) -> tuple[ModelConfig, str]:
    """The multiplier and expansion rate: published values first, then multiples of 0.05."""
    base = state["in_c.1.0.weight"].shape[0]
    grn = any(".after_block_norm." in name for name in state)
    ends = tuple(state[f"stages.{s}.{b[-1]}.block.2.0.weight"].shape[0] for s, b in STAGES.items())
    wide = {
        state[f"stages.{s}.{b}.block.0.0.weight"].shape[1]: state[f"stages.{s}.{b}.block.0.0.weight"].shape[0]
        for s, blocks in STAGES.items()
        for b in blocks
    }
    published = [c for c in MODELS.values() if c.arch == "cp_mobile" and c.base_channels == base and c.grn == grn]
    steps = [i / 100 for i in range(100, 801, 5)] + [i / 100 for i in range(50, 1000)]
    multiplier = next(
        (
            m
            for m in [c.channels_multiplier for c in published] + steps
            if tuple(make_divisible(base * m**i) for i in range(3)) == ends
        ),
        None,
    )
    expansion = next(
        (
            e
            for e in [c.expansion_rate for c in published] + steps
            if all(make_divisible(narrow * e) == got for narrow, got in wide.items())
        ),
        None,
    )
    if multiplier is None or expansion is None:
        raise TrainingError(
            str(path),
            "no CP-Mobile multiplier and expansion rate gives these channels",
            expected="channels of the published rule, rounded to multiples of 8",
            got=f"stage channels {base}, {ends}, expanded {wide}",
            next_step="export the network to ONNX or TFLite and import that file",
        )
    strides = dict(CPM23_STRIDES if grn else DCASE25_STRIDES)
    config = ModelConfig(
        arch="cp_mobile",
        n_classes=state["feed_forward.0.weight"].shape[0],
        base_channels=base,
        channels_multiplier=multiplier,
        expansion_rate=expansion,
        grn=grn,
        strides=strides,
    )
    return config, f"strides (freq, time) {' '.join(f'{block}={stride}' for block, stride in strides.items())}"


def _cp_resnet(path: Path, state: Mapping[str, Tensor]) -> tuple[ModelConfig, str]:
    kernels = _kernels(state)
    base, w2, w3 = (state[f"stage{i}.block1.conv1.weight"].shape[0] for i in (1, 2, 3))
    inputs = (base, base, w2)
    groups = [max(n // state[f"stage{i}.block1.conv1.weight"].shape[1], 1) for i, n in enumerate(inputs, start=1)]
    multiplier, cut2, cut3 = _multiplier(path, base, w2, w3)
    config = ModelConfig(
        arch="cp_resnet",
        n_classes=state["feed_forward.0.weight"].shape[0],
        base_channels=base,
        channels_multiplier=multiplier,
        blocks_per_stage=(len(kernels[0]), len(kernels[1]), len(kernels[2])),
        groups_s1=groups[0],
        groups_s2=groups[1],
        groups_s3=groups[2],
        cut_channels_s2=cut2,
        cut_channels_s3=cut3,
    )
    for rho in (config.rho, *range(1, 65)):  # several are one network, where their kernels are equal
        if kernels_of(config.model_copy(update={"rho": rho})) == kernels:
            pools = " ".join(f"{after}={pool}" for after, pool in STAGE1_POOLS.items())
            return config.model_copy(update={"rho": rho}), f"max pools (freq, time) after blocks {pools} of stage 1"
    raise TrainingError(
        str(path),
        "no receptive field of CP-ResNet gives these kernels",
        expected="the kernels of the reduced CP-ResNet (DCASE 2022 and 2023) for some rho",
        got="; ".join(f"stage {i}: {stage}" for i, stage in enumerate(kernels, start=1))[:500],
        next_step="export the network to ONNX or TFLite and import that file",
    )


def _kernels(state: Mapping[str, Tensor]) -> list[list[Kernels]]:
    """Kernel heights of the convolutions of every block, stage by stage; shapes are compared later."""
    stages: list[list[Kernels]] = [[], [], []]
    for stage, blocks in enumerate(stages, start=1):
        while (name := f"stage{stage}.block{len(blocks) + 1}.conv") + "1.weight" in state:
            blocks.append((state[f"{name}1.weight"].shape[2], state[f"{name}2.weight"].shape[2]))
    return stages


def _multiplier(path: Path, base: int, w2: int, w3: int) -> tuple[float, int, int]:
    """Multiplier and cut channels of stages 2 and 3: the published 2 first, then one without a cut in stage 2."""
    for multiplier in (2.0, w2 / base):
        if int(base * multiplier) == w2 and int(base * multiplier**2) >= w3:
            return multiplier, 0, int(base * multiplier**2) - w3
    for whole in range(1, LARGEST_MULTIPLIER + 1):
        if base * whole >= w2 and base * whole**2 >= w3:
            return float(whole), base * whole - w2, base * whole**2 - w3
    raise TrainingError(
        str(path),
        "channels that no CP-ResNet has",
        expected=f"stages of at most {LARGEST_MULTIPLIER} and {LARGEST_MULTIPLIER**2} times {base} channels",
        got=(base, w2, w3),
    )
