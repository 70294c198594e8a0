"""One network for each device: chosen on validation alone, routed by device, compared with the general one."""

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
from tinyscene.training.distillation.views import Views
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import load_model, save_model
from tinyscene.training.models.config import named_config
from tinyscene.training.recipe import FitSettings, Recipe, load_recipe

QUICK = FitSettings(epochs=12, batch_size=8, learning_rate=5e-3)
RECIPE = Recipe(name="small", model="cpm23-8", epochs=1, batch_size=8, learning_rate=1e-3, per_device=QUICK)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau", places=6)).load(32_000, folder / "cache", progress=False)


@pytest.fixture
def run_dir(dataset: Dataset, tmp_path: Path) -> Path:
    """A run folder with a general network that has learned nothing yet."""
    torch.manual_seed(0)
    config = named_config("cpm23-8", n_classes=3, padding="same")
    save_model(tmp_path / "student.pt", build_model(config), config, preset("cpm23"), dataset.labels, {})
    return tmp_path


def test_devices_get_what_is_better_on_validation_and_others_the_general_network(
    dataset: Dataset, run_dir: Path
) -> None:
    names = tuple(r.filename for r in dataset.train.records)
    targets = SoftTargets(names, np.eye(3, dtype=np.float32)[dataset.train.targets] * 4)
    before = (run_dir / "student.pt").read_bytes()
    report = train_devices(RECIPE, dataset, run_dir, soft_targets=targets, seed=0, progress=False)
    found = {model.device: model for model in report.devices}
    assert {name: model.checkpoint for name, model in found.items()} == {
        "a": "devices/a.pt",
        "s1": "devices/s1.pt",
        "s4": "student.pt",
    }
    assert found["s4"].why == "not in the training part"
    assert found["s1"].test is None  # the layout's test part has none of it
    assert (run_dir / "student.pt").read_bytes() == before

    # The figures are those of the files that were written.
    clips = of_device(dataset.test, "a")
    own, general = (load_model(run_dir / name) for name in ("devices/a.pt", "student.pt"))
    right = predicted(own, clips).argmax(1) == clips.targets
    was = predicted(general, clips).argmax(1) == clips.targets
    assert found["a"].test is not None
    assert found["a"].test.chosen.accuracy == right.mean()
    assert found["a"].test.general.accuracy == was.mean()
    assert found["a"].test.difference.gain == pytest.approx(right.mean() - was.mean())
    assert found["a"].test.difference.only_this == (right & ~was).sum()
    assert found["s4"].test is not None
    assert found["s4"].test.difference.gain == 0
    assert report.together is not None
    assert report.together.clips == len(dataset.test)
    assert report.together.difference.only_this == found["a"].test.difference.only_this

    record = json.loads((run_dir / "devices.json").read_text())
    assert record["fall_back"] == "student.pt"
    assert record["checkpoints"] == {"a": "devices/a.pt", "s1": "devices/s1.pt"}
    assert [(limit["measured"], limit["passed"]) for limit in record["limits"]] == [(7_534, True), (1_552_768, True)]
    run = json.loads((run_dir / "devices" / "a" / "run.json").read_text())
    assert run["soft_targets"] is not None
    again = train_devices(RECIPE, dataset, run_dir, soft_targets=targets, seed=0, resume=True, progress=False)
    assert again == report


def test_a_device_that_gains_nothing_keeps_the_general_network(dataset: Dataset, run_dir: Path) -> None:
    still = RECIPE.model_copy(update={"per_device": QUICK.model_copy(update={"epochs": 1, "learning_rate": 1e-12})})
    report = train_devices(still, dataset, run_dir, seed=0, progress=False)
    for model in report.devices[:2]:
        assert model.validation is not None
        general, own = model.validation
        assert own <= general
        assert (model.checkpoint, model.why) == ("student.pt", "not better on validation")
    assert not list((run_dir / "devices").glob("*.pt"))
    assert report.together is not None
    assert report.together.difference.gain == 0


def test_the_test_part_chooses_nothing_and_a_device_without_validation_is_not_trained(
    dataset: Dataset, run_dir: Path
) -> None:
    """Labels of the test turned round, and no validation clips of s1: a's choice and figures stay."""
    turned = replace(dataset.test, targets=(dataset.test.targets + 1) % 3)
    held = of_device(dataset.validation, "a")
    report = train_devices(RECIPE, replace(dataset, test=turned, validation=held), run_dir, seed=0, progress=False)
    assert [model.checkpoint for model in report.devices] == ["devices/a.pt", "student.pt", "student.pt"]
    assert report.devices[1].why == "no clips to judge on in the validation part"
    assert not (run_dir / "devices" / "s1").exists()


def test_what_is_refused(dataset: Dataset, run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="tinyscene train"):
        general_model(tmp_path / "nowhere", dataset)
    with pytest.raises(TrainingError, match="other labels"):
        general_model(run_dir, replace(dataset, labels=("x", "y", "z")))
    with pytest.raises(TrainingError, match="another rate"):
        general_model(run_dir, replace(dataset, sample_rate_hz=16_000))
    names = tuple(r.filename for r in dataset.train.records)
    heard = SoftTargets(names, np.zeros((len(names), 2, 3), np.float32), Views(RECIPE.augment, seed=0, count=2))
    with pytest.raises(TrainingError, match="are of views"):
        train_devices(RECIPE, dataset, run_dir, soft_targets=heard, seed=0, progress=False)


def test_the_default_is_what_the_published_baseline_did() -> None:
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


def test_the_command_goes_on_from_a_run_and_not_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out, recipe = write_layout(tmp_path / "tau"), tmp_path / "run", tmp_path / "mine.yaml"
    few = "epochs: 1, batch_size: 16, learning_rate: 1.0e-3"
    student = few.replace(", ", "\n")
    recipe.write_text(f"model: cpm23-8\n{student}\nper_device: {{{few}}}\nteachers:\n  - {{model: cpm23-8, {few}}}\n")
    words = [str(recipe), "--data", str(data), "--out", str(out)]
    assert command_line.main(["train", "devices", *words]) == 2
    assert "run 'tinyscene train' there first" in capsys.readouterr().err
    assert not out.exists()  # nothing was decoded first
    assert command_line.main(["train", *words]) == 0
    assert command_line.main(["train", "devices", *words]) == 0
    said = capsys.readouterr().out
    assert "device s4: student.pt, not in the training part" in said
    assert "together, by device:" in said
    assert "size: 7,534 B <= 128,000 B" in said  # of three classes
    assert command_line.main(["train", "devices", *words]) == 2
    assert "is there already" in capsys.readouterr().err
    assert command_line.main(["train", "devices", *words, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fall_back"] == "student.pt"
