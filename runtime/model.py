"""A model as commands take it, whatever it was read from: a bundle, or a file made elsewhere.

A bundle of an audio classifier has labels and a front end of its own. A file made elsewhere, and a bundle of any other
network, has no front end and perhaps no labels, which are "0", "1", ... then; :func:`described` adds those of the
caller. Refuses labels and a front end for a model that has its own, labels that are not one per output, and a front end
whose log-mel is not the network's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

from .bounded_files import read_bounded
from .bundle import Golden
from .errors import RuntimeFailure
from .graph import Graph, Labels
from .json_files import read_json
from .records import check_record
from .scores import has_scores, labels_of
from .spec import PRESETS, FrontendSpec, preset

LARGEST_LABELS_BYTES = 2**20
FRONTEND_SUFFIX = ".json"


class Model(Protocol):
    """An integer graph with what belongs to it, such as a :class:`tinyscene.runtime.bundle.Bundle`."""

    @property
    def path(self) -> Path:
        """What it was read from."""

    @property
    def graph(self) -> Graph: ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Class labels in the order of the graph's output; numbers where the model has none, empty for several
        outputs."""

    @property
    def frontend(self) -> FrontendSpec | None:
        """How audio becomes the network's input; None where the model does not define it."""

    @property
    def digest(self) -> str:
        """SHA-256 of the model as hex."""

    @property
    def constant_channels_removed(self) -> int | None: ...

    @property
    def input_axes(self) -> Mapping[str, tuple[int, ...]]:
        """By input, its axes as the user knows it, in the order of the graph's; not of those where the two are the
        same. One axis fewer than the graph's: a sequence (batch, channels, time), which is an image of height 1."""

    def file(self, name: str) -> bytes:
        """A model file by its name in a bundle, such as ``model.tflite``."""

    def golden(self) -> Golden:
        """Inputs with every activation that the graph computes from them."""


class AudioModel(Model, Protocol):
    """A model whose input is a log-mel; its graph has labels."""

    @property
    def frontend(self) -> FrontendSpec: ...


@dataclass(frozen=True, eq=False)
class DescribedModel:
    """A model with labels or a front end that it does not have itself."""

    model: Model
    graph: Graph
    frontend: FrontendSpec | None

    @property
    def path(self) -> Path:
        return self.model.path

    @property
    def labels(self) -> tuple[str, ...]:
        return labels_of(self.graph)

    @property
    def digest(self) -> str:
        return self.model.digest

    @property
    def constant_channels_removed(self) -> int | None:
        return self.model.constant_channels_removed

    @property
    def input_axes(self) -> Mapping[str, tuple[int, ...]]:
        return self.model.input_axes

    def file(self, name: str) -> bytes:
        return self.model.file(name)

    def golden(self) -> Golden:
        return self.model.golden()


def described(model: Model, frontend: str | None = None, labels: Path | None = None) -> Model:
    """The model with a front end (a preset's name or a JSON file) and labels (a text file, one per line).

    Raises:
        RuntimeFailure: see the module's refusals; the files cannot be read.
    """
    graph, spec = model.graph, model.frontend
    if labels is not None:
        _refuse_second(model, "--labels", bool(graph.labels))
        graph = replace(graph, labels=read_labels(labels, graph.tensors[graph.output].shape[-1]))
    if frontend is not None:
        _refuse_second(model, "--frontend", spec is not None)
        spec = read_frontend(frontend)
        _require_log_mel(graph, spec, str(model.path))
    return model if labels is None and frontend is None else DescribedModel(model, graph.check(), spec)


def with_frontend(model: Model, without: str | None = None) -> AudioModel:
    """The same model, for what needs audio; its graph gets numbers as labels where it has none.

    Args:
        without: what to do where the network's input is no log-mel, if there is anything.

    Raises:
        RuntimeFailure: the model has no front end, or its output is not one row of scores.
    """
    if model.frontend is None:
        what = "has no front end, which makes the network's input from audio"
        step = "give it with --frontend PRESET|FILE.json" + (f"; without one, {without}" if without else "")
        raise RuntimeFailure(str(model.path), what, expected="--frontend, or a model with one", next_step=step)
    model.graph.require_no_states("audio in windows that overlap")
    scores = model.graph.tensors[model.graph.output]
    if not has_scores(model.graph):
        what, expected = "its output is not one row of scores", f"(1, classes) of {scores.n_bytes} values"
        raise RuntimeFailure(str(model.path), what, expected=expected, got=scores.shape)
    if model.graph.labels:
        return cast(AudioModel, model)
    graph = replace(model.graph, labels=model.labels).check()
    return cast(AudioModel, DescribedModel(model, graph, model.frontend))


def read_frontend(text: str) -> FrontendSpec:
    """A front end by the name of a preset, or from a JSON file with the fields of :class:`FrontendSpec`.

    Raises:
        RuntimeFailure: no such preset, or a file that is not a front end.
    """
    if not text.endswith(FRONTEND_SUFFIX):
        if text not in PRESETS:
            expected = f"{' | '.join(PRESETS)}, or a file whose name ends in {FRONTEND_SUFFIX}"
            raise RuntimeFailure(f"front end '{text}'", "unknown preset", expected=expected)
        return preset(text)
    advice = "write the fields of a front end into it, as manifest.json of a bundle has them"
    return FrontendSpec.from_json(read_json(Path(text), "a front end", advice))


def _refuse_second(model: Model, option: str, has_its_own: bool) -> None:
    if has_its_own:
        what = "applies to a model without its own"
        raise RuntimeFailure(option, what, got=str(model.path), next_step=f"leave out {option}")


def _require_log_mel(graph: Graph, spec: FrontendSpec, where: str) -> None:
    shape = graph.tensors[graph.input].shape
    if not spec.makes(shape):
        what = f"front end '{spec.name}' does not make the input of this network"
        got = f"a log-mel of {spec.n_mels} mel bands and {spec.n_frames} columns"
        step = "give another --frontend; a network whose input has the columns first is a limit"
        raise RuntimeFailure(where, what, expected=f"input {shape}", got=got, next_step=step)


@dataclass(frozen=True)
class _LabelsFile:
    """Content of a text file of labels, as a graph and a checkpoint hold it."""

    labels: Labels


def read_labels(path: Path, classes: int | None = None) -> tuple[str, ...]:
    """The labels of a text file, one per line; raises RuntimeFailure unless there are ``classes``, if that is given.

    A byte order mark, with which editors on Windows begin a file, is no part of the first label.
    """
    data = read_bounded(path, LARGEST_LABELS_BYTES, "give a text file with one label per line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise RuntimeFailure(str(path), "not UTF-8 text", got=str(problem)[:80]) from None
    labels = tuple(text.splitlines())
    empty = sum(not label.strip() for label in labels)
    if empty or not labels or (classes is not None and len(labels) != classes):
        expected = f"{classes or 'some'} lines, one label for each output"
        got = f"{len(labels)} lines" + (f", {empty} of them empty" if empty else "")
        raise RuntimeFailure(str(path), "labels do not fit the network", expected=expected, got=got)
    check_record(_LabelsFile(labels), str(path))
    return labels
