"""Checkpoints of tinyscene and of the published CP-Mobile networks, both read without executing code in them.

Refuses missing, empty, truncated and foreign files, pickled objects, tensors of another network (naming the first), and
weights that are not finite. Strides cannot be inferred from shapes: a network with GRN gets those of the 2023 winner,
one without those of the DCASE 2024/25 baseline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.spec import FrontendSpec, preset

from ..errors import TrainingError
from .build import build_model
from .config import CPM23_STRIDES, DCASE25_STRIDES, MODELS, STAGES, ModelConfig
from .cp_mobile import CPMobile
from .sizes import make_divisible
from .torch_file import write_torch

FORMAT = "tinyscene checkpoint 1"
TAU22_LABELS = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
# Tensors of the published Lightning modules that do not belong to the network: tables of their front end.
FRONTEND_PREFIXES = ("mel.", "mel_augment.", "preprocess.")
EXPECTED_NET = "CP-Mobile of the 2023 winner or the DCASE 2024/25 baseline, or a tinyscene checkpoint"


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode with its configuration, front end and labels."""

    model: nn.Module
    config: ModelConfig
    frontend: FrontendSpec
    labels: tuple[str, ...]
    metrics: dict[str, object] = field(default_factory=dict)


def save_model(
    path: Path,
    model: nn.Module,
    config: ModelConfig,
    frontend: FrontendSpec,
    labels: tuple[str, ...],
    metrics: Mapping[str, object],
) -> None:
    """Write a tinyscene checkpoint: plain tensors and one JSON string."""
    record = {
        "config": config.model_dump(mode="json"),
        "frontend": frontend.to_json(),
        "labels": list(labels),
        "metrics": dict(metrics),
    }
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    write_torch(path, {"format": FORMAT, "record": json.dumps(record), "state": state})


def load_model(path: Path) -> LoadedModel:
    """Read a file written by :func:`save_model`; raises TrainingError for any other."""
    return _own(path, _read(path))


def load_public_checkpoint(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Configuration and state dict (names without ``model.``) of a published CP-Mobile checkpoint.

    The sizes are inferred from the shapes; every tensor must exist with its shape. Raises TrainingError.
    """
    return _public(path, _read(path))


def load_pretrained(path: Path, model: nn.Module) -> None:
    """Initialise ``model`` with the weights of a checkpoint, strictly by name; raises TrainingError.

    PaSST takes a published AudioSet checkpoint without its heads; any network takes a tinyscene checkpoint of the same
    architecture.
    """
    from .passt import PaSST, load_audioset

    content = _read(path)
    if isinstance(model, PaSST) and content.get("format") != FORMAT:
        state = {str(name): t for name, t in content.items() if isinstance(t, Tensor)}
        return load_audioset(model, state, str(path))
    _copy(path, _own(path, content).model.state_dict(), model)


def load_weights(path: Path, model: nn.Module) -> None:
    """Load a plain state dict of exactly this network into ``model``; raises TrainingError."""
    _copy(path, _read(path), model)


def _copy(path: Path, state: Mapping[str, Tensor], model: nn.Module) -> None:
    _require_same(path, state, model.state_dict(), "weights of exactly this network")
    model.load_state_dict(state)


def load_any(path: Path) -> LoadedModel:
    """Read a tinyscene checkpoint or a published one.

    A published one gets the front end of its family and, if it has ten classes, the TAU22 labels in alphabetical order,
    as in both published networks. Raises TrainingError.
    """
    content = _read(path)
    if "format" in content:
        return _own(path, content)
    config, state = _public(path, content)
    model = build_model(config)
    model.load_state_dict(state)
    ten = config.n_classes == len(TAU22_LABELS)
    labels = TAU22_LABELS if ten else tuple(f"class_{i}" for i in range(config.n_classes))
    return LoadedModel(model.eval(), config, preset("cpm23" if config.grn else "dcase25"), labels)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise TrainingError(str(path), "no such file", expected="a checkpoint", next_step="check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises many exception types on damaged bytes
        objects = "Unsupported global" in str(error)
        raise TrainingError(
            str(path),
            "contains Python objects, which are never loaded" if objects else "not a readable checkpoint",
            expected=EXPECTED_NET,
            got=f"{path.stat().st_size} bytes",
            next_step="save only its state_dict" if objects else "download or copy it again",
        ) from error
    if not isinstance(content, Mapping):
        raise TrainingError(str(path), "not a checkpoint", expected=EXPECTED_NET, got=type(content).__name__)
    return content


def _own(path: Path, content: Mapping[str, Any]) -> LoadedModel:
    if content.get("format") != FORMAT:
        raise TrainingError(
            str(path),
            "unknown checkpoint format",
            expected=FORMAT,
            got=content.get("format", "none"),
            next_step="import a published checkpoint with 'tinyscene import'; train others again with this version",
        )
    try:
        record = json.loads(content["record"])
        config = ModelConfig.model_validate(record["config"])
        frontend = FrontendSpec.from_json(record["frontend"])
        labels, metrics = tuple(record["labels"]), dict(record["metrics"])
        state = dict(content["state"])
    except (KeyError, TypeError, ValueError, ValidationError, TinysceneError) as error:
        raise TrainingError(
            str(path), "damaged checkpoint record", got=str(error).splitlines()[0], next_step="copy or train it again"
        ) from error
    model = build_model(config)
    _require_same(path, state, model.state_dict())
    model.load_state_dict(state)
    return LoadedModel(model.eval(), config, frontend, labels, metrics)


def _public(path: Path, content: Mapping[str, Any]) -> tuple[ModelConfig, dict[str, Tensor]]:
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise TrainingError(
            str(path), "contains no state dict", expected=EXPECTED_NET, got=sorted(map(str, content))[:5]
        )
    if any(name.startswith("model.") for name in state):
        state = {name: t for name, t in state.items() if not name.startswith(FRONTEND_PREFIXES)}
    state = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    grn = any(".after_block_norm." in name for name in state)
    known = CPMobile(MODELS["cpm23-8"].model_copy(update={"grn": grn})).state_dict()
    _require_names(path, state, known)
    config = _infer_config(path, state, grn)
    _require_same(path, state, CPMobile(config).state_dict())
    return config, state


def _infer_config(path: Path, state: Mapping[str, Tensor], grn: bool) -> ModelConfig:
    """The configuration whose channels equal those of the tensors: published values first, then multiples of 0.05."""
    base = state["in_c.1.0.weight"].shape[0]
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
            expected=EXPECTED_NET,
            got=f"stage channels {base}, {ends}, expanded {wide}",
        )
    return ModelConfig(
        arch="cp_mobile",
        n_classes=state["feed_forward.0.weight"].shape[0],
        base_channels=base,
        channels_multiplier=multiplier,
        expansion_rate=expansion,
        grn=grn,
        strides=dict(CPM23_STRIDES if grn else DCASE25_STRIDES),
    )


def _require_names(
    path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], description: str = EXPECTED_NET
) -> None:
    unexpected = next((name for name in state if name not in expected), None)
    if unexpected is not None:
        raise TrainingError(
            str(path),
            "a checkpoint of another network",
            expected=description,
            got=f"unexpected tensor '{unexpected}'",
            next_step="give another checkpoint",
        )
    missing = next((name for name in expected if name not in state), None)
    if missing is not None:
        raise TrainingError(
            str(path), f"tensor '{missing}' is missing", expected=description, next_step="give another checkpoint"
        )


def _require_same(
    path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], description: str = EXPECTED_NET
) -> None:
    """Require the same names and shapes, and finite values."""
    _require_names(path, state, expected, description)
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise TrainingError(
                str(path),
                f"tensor '{name}' has another shape",
                expected=list(expected[name].shape),
                got=list(tensor.shape),
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise TrainingError(str(path), f"tensor '{name}' is not finite", next_step="give another checkpoint")
