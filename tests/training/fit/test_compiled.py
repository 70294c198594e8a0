"""``compile: true``: the same training, and a one-line error on a machine without a compiler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.training.layout import write_layout
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.errors import TrainingError
from tinyscene.training.fit.compiled import compiled
from tinyscene.training.fit.fit import FitResult, fit
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import named_config
from tinyscene.training.models.network import Network
from tinyscene.training.pipeline import train_student, train_teachers
from tinyscene.training.recipe import FeatureDistillation, FitSettings, Recipe, TrainSettings
from tinyscene.training.run import Run

FRONTEND = preset("cpm23")
SETTINGS = FitSettings(epochs=2, batch_size=16, learning_rate=1e-3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau", clips=1)).load(32_000, folder / "cache", progress=False)


@pytest.fixture
def without_code(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Capture graphs as for compilation but run them uncompiled, which takes a second; returns the graphs."""
    graphs: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch._dynamo.reset()
    return graphs


def trained(dataset: Dataset, folder: Path, compile: bool) -> FitResult:
    torch.manual_seed(0)
    model = build_model(named_config("cpm23-8", n_classes=3, padding="same"))
    settings = SETTINGS.model_copy(update={"compile": compile})
    return fit(Network(model, FRONTEND), settings, Run(dataset, folder, seed=1, progress=False))


def test_captured_graphs_train_the_same_network(dataset: Dataset, tmp_path: Path, without_code: list[object]) -> None:
    plain, captured = (trained(dataset, tmp_path / str(flag), flag) for flag in (False, True))
    assert len(without_code) == 2  # whole batches, and the smaller last one
    assert captured.state.keys() == plain.state.keys()
    for name, value in plain.state.items():
        assert torch.allclose(captured.state[name], value, atol=1e-5), name


def test_feature_losses_agree_in_a_captured_graph(dataset: Dataset, tmp_path: Path, without_code: list[object]) -> None:
    few = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    teacher = TrainSettings(model="cpresnet-33k", padding="torch", frontend="cpresnet", **few)
    losses = []
    for flag in (False, True):
        recipe = Recipe(
            name="p1", model="cpm23-8", compile=flag, teachers=(teacher,), features=FeatureDistillation(), **few
        )
        run = Run(dataset, tmp_path / str(flag), seed=0, progress=False)
        targets, _ = train_teachers(recipe, run)
        student = train_student(recipe, run, soft_targets=targets)
        losses.append(student.fit.metrics["feature_loss"])
    assert without_code
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_missing_compiler_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no C++ compiler\nsecond line")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    torch._dynamo.reset()
    with pytest.raises(TrainingError, match="cannot be compiled on this machine"):
        compiled(torch.nn.Linear(3, 2))(torch.zeros(4, 3))


@pytest.mark.slow
@pytest.mark.needs_tool("g++")
def test_compiled_code_trains_the_same_network(dataset: Dataset, tmp_path: Path) -> None:
    plain, code = (trained(dataset, tmp_path / str(flag), flag) for flag in (False, True))
    for before, after in zip(plain.history, code.history, strict=True):
        assert after["train_loss"] == pytest.approx(before["train_loss"], rel=1e-3)
