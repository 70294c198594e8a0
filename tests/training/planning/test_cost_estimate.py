"""What a recipe costs: every network is counted, and throughput is of whole steps as fit takes them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.training.layout import write_layout
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Tau22
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import named_config
from tinyscene.training.models.network import Network
from tinyscene.training.planning.cost_estimate import Passes, expenses, full_size_clips
from tinyscene.training.planning.throughput import evaluation_rate, reading_rate, training_rate
from tinyscene.training.recipe import QAT, FitSettings, Fusion, Recipe, TrainSettings

SETTINGS = {"learning_rate": 1e-3, "batch_size": 16}
RECIPE = Recipe(
    name="mine",
    model="cpm23-8",
    epochs=4,
    learning_rate=1e-3,
    batch_size=32,
    fusion=Fusion(folds=3, listener=TrainSettings(model="cpm23-8", epochs=2, **SETTINGS)),
    teachers=(
        TrainSettings(model="passt-tiny", frontend="passt", epochs=5, learning_rate=1e-3, batch_size=50),
        TrainSettings(model="cpm23-8", epochs=1, **SETTINGS),
    ),
)


def measured(passes: Passes) -> tuple[int, float]:
    return 7, 1001 / 3600  # clips per second: an hour per pass


def test_every_network_is_counted_at_full_size() -> None:
    rows = [(e.kind, e.network, e.passes, e.steps, e.hours) for e in expenses(RECIPE, 1001, measured)]
    # Three copies train on two thirds of the clips each, two more passes, and are evaluated on the other third.
    assert rows == [
        ("teacher", "passt-tiny", 15, 15 * 21, pytest.approx(15)),
        ("logits", "passt-tiny", 2, 2 * 16, pytest.approx(2)),
        ("teacher", "cpm23-8", 3, 3 * 63, pytest.approx(3)),
        ("logits", "cpm23-8", 2, 2 * 16, pytest.approx(2)),
        ("fusion z1", "cpm23-8", 2, 2 * 63, pytest.approx(2)),
        ("student", "cpm23-8", 4, 4 * 32, pytest.approx(4)),
        ("QAT", "cpm23-8", QAT.epochs, QAT.epochs * 32, pytest.approx(QAT.epochs)),
    ]
    alone = RECIPE.model_copy(update={"teachers": (), "fusion": None})
    assert [e.kind for e in expenses(alone, 1001, measured)] == ["student", "QAT"]
    with_views = RECIPE.model_copy(update={"fusion": None, "views": 6})
    assert [e.passes for e in expenses(with_views, 1001, measured) if e.kind == "logits"] == [6, 6]


def test_full_size_excludes_validation() -> None:
    assert full_size_clips(100) == 118_677
    assert full_size_clips(5) == 5_933


def test_rates_count_processed_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that advances by one second per call."""
    dataset = Tau22.open(write_layout(tmp_path / "tau")).load(32_000, tmp_path / "cache", progress=False)
    model = build_model(named_config("cpm23-8", n_classes=3))
    network = Network(model, preset("cpm23"))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    ticks = iter(range(1000))
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    for module in ("fit.throughput", "planning.throughput"):
        monkeypatch.setattr(f"tinyscene.training.{module}.time", clock)
    settings = FitSettings(epochs=1, batch_size=5, learning_rate=1e-2)
    # In each epoch the clock is read at the start and after both steps.
    assert training_rate(network, settings, dataset, steps=2) == pytest.approx(2 * 5 / 2)
    assert any(not torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert evaluation_rate(network, dataset, 8) == pytest.approx(8)
    assert reading_rate(dataset, settings, 3) == pytest.approx(3 * 5)
