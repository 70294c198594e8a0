"""Networks of single devices: selected on validation only, and compared with the general network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.device_models import general_model, of_device, predicted, train_devices
from tinyscene.training.distillation.soft_targets import SoftTargets
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import load_model, save_model
from tinyscene.training.models.config import named_config
from tinyscene.training.recipe import FitSettings, Recipe, load_recipe
from tinyscene.training.run import Run
from tinyscene.training.transforms.views import Views

QUICK = FitSettings(epochs=12, batch_size=8, learning_rate=5e-3)
RECIPE = Recipe(name="small", model="cpm23-8", epochs=1, batch_size=8, learning_rate=1e-3, per_device=QUICK)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau", places=6)).load(32_000, folder / "cache", progress=False)


@pytest.fixture
def run_dir(dataset: Dataset, tmp_path: Path) -> Path:
    """A run folder with an untrained general network."""
    torch.manual_seed(0)
    config = named_config("cpm23-8", n_classes=3, padding="same")
    save_model(tmp_path / "student.pt", build_model(config), config, preset("cpm23"), dataset.labels, {})
    return tmp_path


def run_in(dataset: Dataset, folder: Path, *, resume: bool = False) -> Run:
    return Run(dataset, folder, seed=0, resume=resume, progress=False)


def test_devices_get_the_network_that_is_better_on_validation(dataset: Dataset, run_dir: Path) -> None:
    names = tuple(r.filename for r in dataset.train.records)
    targets = SoftTargets(names, np.eye(3, dtype=np.float32)[dataset.train.targets] * 4)
    before = (run_dir / "student.pt").read_bytes()
    report = train_devices(RECIPE, run_in(dataset, run_dir), soft_targets=targets)
    models = {model.device: model for model in report.devices}
    assert {name: model.checkpoint for name, model in models.items()} == {
        "a": "devices/a.pt",
        "s1": "devices/s1.pt",
        "s4": "student.pt",
    }
    assert models["s4"].why == "not in the training part"
    assert models["s1"].test is None  # no such clips in the test part
    assert (run_dir / "student.pt").read_bytes() == before

    # The reported accuracies equal those of the written files.
    clips = of_device(dataset.test, "a")
    own, general = (load_model(run_dir / name) for name in ("devices/a.pt", "student.pt"))
    right = predicted(own, clips).argmax(1) == clips.targets
    was = predicted(general, clips).argmax(1) == clips.targets
    assert models["a"].test is not None
    assert models["a"].test.chosen.accuracy == right.mean()
    assert models["a"].test.general.accuracy == was.mean()
    assert models["a"].test.difference.gain == pytest.approx(right.mean() - was.mean())
    assert models["a"].test.difference.only_this == (right & ~was).sum()
    assert models["s4"].test is not None
    assert models["s4"].test.difference.gain == 0
    assert report.together is not None
    assert report.together.clips == len(dataset.test)
    assert report.together.difference.only_this == models["a"].test.difference.only_this

    record = json.loads((run_dir / "devices.json").read_text())
    assert record["fall_back"] == "student.pt"
    assert record["checkpoints"] == {"a": "devices/a.pt", "s1": "devices/s1.pt"}
    assert [(limit["measured"], limit["passed"]) for limit in record["limits"]] == [(7_534, True), (1_552_768, True)]
    run = json.loads((run_dir / "devices" / "a" / "run.json").read_text())
    assert run["soft_targets"] is not None
    again = train_devices(RECIPE, run_in(dataset, run_dir, resume=True), soft_targets=targets)
    assert again == report


def test_a_device_without_gain_keeps_the_general_network(dataset: Dataset, run_dir: Path) -> None:
    still = RECIPE.model_copy(update={"per_device": QUICK.model_copy(update={"epochs": 1, "learning_rate": 1e-12})})
    report = train_devices(still, run_in(dataset, run_dir))
    for model in report.devices[:2]:
        assert model.validation is not None
        general, own = model.validation
        assert own <= general
        assert (model.checkpoint, model.why) == ("student.pt", "not better on validation")
    assert not list((run_dir / "devices").glob("*.pt"))
    assert report.together is not None
    assert report.together.difference.gain == 0


def test_selection_uses_validation_clips_only(dataset: Dataset, run_dir: Path) -> None:
    """With rotated test labels and no validation clips of s1, the selection for a does not change."""
    rotated = replace(dataset.test, targets=(dataset.test.targets + 1) % 3)
    validation = of_device(dataset.validation, "a")
    report = train_devices(RECIPE, run_in(replace(dataset, test=rotated, validation=validation), run_dir))
    assert [model.checkpoint for model in report.devices] == ["devices/a.pt", "student.pt", "student.pt"]
    assert report.devices[1].why == "no validation clips of this device"
    assert not (run_dir / "devices" / "s1").exists()


def test_refusals(dataset: Dataset, run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="tinyscene train"):
        general_model(run_in(dataset, tmp_path / "nowhere"))
    with pytest.raises(TrainingError, match="labels of the network"):
        general_model(run_in(replace(dataset, labels=("x", "y", "z")), run_dir))
    with pytest.raises(TrainingError, match="sample rate of the network"):
        general_model(run_in(replace(dataset, sample_rate_hz=16_000), run_dir))
    names = tuple(r.filename for r in dataset.train.records)
    of_views = SoftTargets(names, np.zeros((len(names), 2, 3), np.float32), Views(RECIPE.augment, seed=0, count=2))
    with pytest.raises(TrainingError, match="belong to augmented views"):
        train_devices(RECIPE, run_in(dataset, run_dir), soft_targets=of_views)


def test_defaults_match_the_published_baseline() -> None:
    recipe = load_recipe("dcase25")
    settings = recipe.device_settings()
    assert (settings.epochs, settings.learning_rate, settings.augment.mixstyle_p) == (50, pytest.approx(5e-4), 0)
    assert (settings.batch_size, settings.optimizer) == (256, "adamw")
    assert settings.augment.roll_samples == recipe.augment.roll_samples
    assert settings.distillation == recipe.distillation
    demo = load_recipe("demo")
    assert demo.device_settings().epochs == 5
    assert demo.device_settings().distillation == demo.distillation
    assert RECIPE.device_settings() == QUICK


def test_the_command_needs_a_student(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out, recipe = write_layout(tmp_path / "tau"), tmp_path / "run", tmp_path / "mine.yaml"
    few = "epochs: 1, batch_size: 16, learning_rate: 1.0e-3"
    student = few.replace(", ", "\n")
    recipe.write_text(f"model: cpm23-8\n{student}\nper_device: {{{few}}}\nteachers:\n  - {{model: cpm23-8, {few}}}\n")
    words = [str(recipe), "--data", str(data), "--out", str(out)]
    assert command_line.main(["train", "devices", *words]) == 2
    assert "run 'tinyscene train' with this run folder first" in capsys.readouterr().err
    assert not out.exists()  # nothing was decoded first
    assert command_line.main(["train", *words]) == 0
    assert command_line.main(["train", "devices", *words]) == 0
    printed = capsys.readouterr().out
    assert "device s4: student.pt, not in the training part" in printed
    assert "all test clips:" in printed
    assert "size: 7,534 B <= 128,000 B" in printed  # of three classes
    assert command_line.main(["train", "devices", *words]) == 2
    assert "already exists" in capsys.readouterr().err
    assert command_line.main(["train", "devices", *words, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fall_back"] == "student.pt"
