"""Checkpoints of tinyscene and published ones, both read without executing code in them.

Refuses what :mod:`tinyscene.training.models.checkpoint_file` and, for a published one,
:mod:`tinyscene.training.models.published` refuse, tensors of another network (naming the first), weights that are not
finite, and variances below 0. Shapes are compared before a network is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from tinyscene.runtime.errors import GET_ANOTHER, TinysceneError
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.runtime.json_files import parse_json
from tinyscene.runtime.spec import FrontendSpec

from ..errors import TrainingError
from .build import build_model
from .checkpoint_file import read_container
from .config import ModelConfig
from .network_search import EXPECTED_NET, find_weights, shapes_of
from .program import Program, network_of
from .published import read_published, tensors_by_name
from .torch_file import write_torch

FORMAT = "tinyscene checkpoint 1"


class _Record(BaseModel):
    """What a checkpoint of ours says beside its weights: the sizes of a network of ours, or the program of another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: ModelConfig | None = None
    program: Program | None = None
    frontend: dict[str, Any] | None
    labels: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=65_536)]
    metrics: dict[str, Any]

    @model_validator(mode="after")
    def _one_network(self) -> _Record:
        if (self.config is None) == (self.program is None):
            raise ValueError("expected one of config and program")
        if self.config is not None and self.frontend is None:
            raise ValueError("expected a front end beside config")
        return self

    @property
    def network(self) -> ModelConfig | Program:
        network = self.config or self.program
        assert network is not None
        return network


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode with its front end and labels.

    ``config``: the sizes of a network of ours, or the program of any other; ``frontend``: None for a program whose
    inputs are given as they are, which has labels for a row of scores only, and may have none; ``notes``: what its
    reader assumed.
    """

    model: nn.Module
    config: ModelConfig | Program
    frontend: FrontendSpec | None
    labels: tuple[str, ...]
    metrics: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input without the batch, by its name in the integer graph."""
        if self.frontend is not None:
            return {LOG_MEL: (1, self.frontend.n_mels, self.frontend.n_frames)}
        assert isinstance(self.config, Program)
        return {end.name: end.shape for end in self.config.inputs}

    def required_frontend(self, where: str) -> FrontendSpec:
        """The front end, for what needs audio; raises TrainingError if there is none."""
        if self.frontend is None:
            what = "has no front end, which makes the network's input from audio"
            step = "import the network with --frontend PRESET|FILE.json"
            raise TrainingError(where, what, expected="a checkpoint with a front end", next_step=step)
        return self.frontend


def save_model(
    path: Path,
    model: nn.Module,
    config: ModelConfig | Program,
    frontend: FrontendSpec | None,
    labels: tuple[str, ...],
    metrics: Mapping[str, object],
) -> None:
    """Write a tinyscene checkpoint: plain tensors and one JSON string."""
    finite = json.loads(json.dumps(dict(metrics)), parse_constant=lambda _: None)  # JSON has no NaN
    record = {
        "program" if isinstance(config, Program) else "config": config.model_dump(mode="json"),
        "frontend": None if frontend is None else frontend.to_json(),
        "labels": list(labels),
        "metrics": finite,
    }
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    write_torch(path, {"format": FORMAT, "record": json.dumps(record), "state": state})


def load_model(path: Path) -> LoadedModel:
    """Read a file written by :func:`save_model`; raises TrainingError for any other."""
    return _own(path, read_container(path))


def load_pretrained(path: Path, model: nn.Module) -> None:
    """Initialise ``model`` with the weights of a checkpoint, strictly by name; raises TrainingError.

    PaSST takes a published AudioSet checkpoint without its heads; any network takes a tinyscene checkpoint of the same
    architecture.
    """
    from .passt import PaSST, load_audioset

    content = read_container(path)
    if isinstance(model, PaSST) and content.get("format") != FORMAT:
        state = {str(name): t for name, t in content.items() if isinstance(t, Tensor)}
        return load_audioset(model, state, str(path))
    loaded = _own(path, content)
    computed = loaded.config.computed if isinstance(loaded.config, Program) else ()
    _copy(path, {name: t for name, t in loaded.model.state_dict().items() if name not in computed}, model)


def load_weights(path: Path, model: nn.Module) -> None:
    """Load a plain state dict of exactly this network into ``model``; raises TrainingError."""
    _copy(path, read_container(path), model)


def load_wrapped(path: Path, model: nn.Module, prefix: str | None = None) -> None:
    """Load the weights of this network from a checkpoint of any training code; raises TrainingError.

    ``prefix``: as for :func:`.network_search.find_weights`.
    """
    own = model.state_dict()
    found = find_weights(path, tensors_by_name(path, read_container(path)), own.keys(), prefix)
    _copy(path, {name: found.get(name, tensor) for name, tensor in own.items()}, model)


def _copy(path: Path, state: Mapping[str, Tensor], model: nn.Module) -> None:
    _require_same(path, state, model.state_dict(), "weights of exactly this network")
    model.load_state_dict(state)


def load_any(
    path: Path, *, prefix: str | None = None, frontend: str | None = None, labels: Path | None = None
) -> LoadedModel:
    """Read a tinyscene checkpoint or a published one.

    The options are for a published one, as :func:`.published.read_published` takes them. Raises TrainingError.
    """
    content = read_container(path)
    if "format" in content:
        if any(given is not None for given in (prefix, frontend, labels)):
            what = "a tinyscene checkpoint has one network, its front end and its labels"
            raise TrainingError(str(path), what, next_step="leave out --prefix, --frontend and --labels")
        return _own(path, content)
    read = read_published(path, content, prefix=prefix, frontend=frontend, labels=labels)
    model = _built(path, read.config, read.state)
    return LoadedModel(model, read.config, read.frontend, read.labels, notes=read.notes)


def _own(path: Path, content: Mapping[str, Any]) -> LoadedModel:
    if content.get("format") != FORMAT:
        raise TrainingError(
            str(path),
            "unknown checkpoint format",
            expected=FORMAT,
            got=_short(content.get("format", "none")),
            next_step="import a published checkpoint with 'tinyscene import'; other formats are of other versions",
        )
    record, frontend = _record(path, content.get("record"))
    state, config, labels, metrics = content.get("state"), record.network, record.labels, record.metrics
    if not isinstance(state, Mapping) or not _is_state(state):
        raise TrainingError(str(path), "contains no state dict", expected=EXPECTED_NET)
    if len(labels) != config.n_classes and (labels or frontend is not None):
        expected = f"{config.n_classes} texts" if config.n_classes else "none, since the output is not one row"
        raise TrainingError(str(path), "labels", expected=expected, got=len(labels))
    if isinstance(config, ModelConfig):
        return LoadedModel(_built(path, config, state), config, frontend, labels, metrics)
    _require_values(path, state)
    shapes = [end.shape for end in config.inputs]
    if frontend is not None and shapes != [(1, frontend.n_mels, frontend.n_frames)]:
        got = f"'{frontend.name}', which makes {frontend.n_mels} x {frontend.n_frames}"
        what = "its front end does not make the network's input"
        raise TrainingError(str(path), what, expected=shapes, got=got)
    return LoadedModel(network_of(config, state, str(path)), config, frontend, labels, metrics)


def _record(path: Path, text: object) -> tuple[_Record, FrontendSpec | None]:
    """The record of a checkpoint of ours, with its front end."""
    try:
        encoded = text.encode(errors="surrogatepass") if isinstance(text, str) else b""
        record = _Record.model_validate(parse_json(encoded, "its record"))
        return record, None if record.frontend is None else FrontendSpec.from_json(record.frontend)
    except (ValidationError, TinysceneError) as error:
        got = " ".join(str(error).split())[:160]
        raise TrainingError(str(path), "damaged checkpoint record", got=got, next_step=GET_ANOTHER) from error


def _built(path: Path, config: ModelConfig, state: Mapping[str, Tensor]) -> nn.Module:
    """The network in evaluation mode with these weights, whose shapes are compared before anything is allocated."""
    _require_same(path, state, shapes_of(config))
    model = build_model(config)
    model.load_state_dict(state)
    return model.eval()


def _is_state(state: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items())


def _short(value: object) -> str:
    """Text of the file as it may be shown; anything else by its type, as its text may be long beyond measure."""
    return value[:80] if isinstance(value, str) else type(value).__name__


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
    """Require the same names, shapes and types, and values that a network can have."""
    _require_names(path, state, expected, description)
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise TrainingError(
                str(path),
                f"tensor '{name}' has another shape",
                expected=list(expected[name].shape),
                got=list(tensor.shape),
            )
        if tensor.dtype != expected[name].dtype and not (
            tensor.is_floating_point() and expected[name].is_floating_point()
        ):
            got = str(tensor.dtype)
            raise TrainingError(str(path), f"tensor '{name}' has another type", expected=expected[name].dtype, got=got)
    _require_values(path, state)


def _require_values(path: Path, state: Mapping[str, Tensor]) -> None:
    """Require values that are finite and variances of at least 0."""
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise TrainingError(str(path), f"tensor '{name}' has a negative variance", got=f"{float(tensor.min()):g}")
        if not torch.isfinite(tensor.float()).all():  # as the network holds it
            raise TrainingError(str(path), f"tensor '{name}' is not finite", next_step="give another checkpoint")
