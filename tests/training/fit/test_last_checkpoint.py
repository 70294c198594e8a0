"""A run is resumed from files that are whole and its own; any others are named, with what to remove."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.layout import write_layout
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.fit.fit import FitResult, fit
from tinyscene.training.fit.last_checkpoint import CHECKPOINT, ENTRY, RUN
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import save_model
from tinyscene.training.models.config import named_config
from tinyscene.training.models.network import Network
from tinyscene.training.recipe import TrainSettings
from tinyscene.training.run import Run

# An eighth of the computation of cpm23.
SMALL = replace(preset("cpm23"), name="small", n_fft=1024, win_length=800, hop_length=1000, n_mels=96)
SETTINGS = TrainSettings(model="cpm23-8", epochs=1, batch_size=12, learning_rate=5e-3)
LABELS = ("airport", "bus", "park")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return Tau22.open(write_layout(folder / "tau", places=2, clips=1)).load(32_000, folder / "cache", progress=False)


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(dataset, folder)
    return folder


def train(dataset: Dataset, folder: Path, *, resume: bool = False) -> FitResult:
    torch.manual_seed(0)
    config = named_config("cpm23-8", n_classes=3, padding="same")
    model = build_model(config)
    result = fit(Network(model, SMALL), SETTINGS, Run(dataset, folder, 0, resume, progress=False))
    save_model(folder / "student.pt", model, config, SMALL, LABELS, {})
    return result


def rewrite(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_run(path: Path) -> None:
    rewrite(path, lambda content: content.update({ENTRY: {"format": 1, "run": "0" * 64}}))


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "cut off": (CHECKPOINT, lambda p: p.write_bytes(p.read_bytes()[:-2000]), "not a whole checkpoint"),
    "empty": (CHECKPOINT, lambda p: p.write_bytes(b""), "not a whole checkpoint; got 0 bytes"),
    "text": (CHECKPOINT, lambda p: p.write_text("epoch 3"), "not a whole checkpoint"),
    "a folder": (CHECKPOINT, folder_instead, "cannot be read; got is a folder"),
    "weights alone": (CHECKPOINT, lambda p: torch.save({"state_dict": {}}, p), "not the last checkpoint of a run"),
    "a list": (CHECKPOINT, lambda p: torch.save([1], p), "not a checkpoint; got list"),
    "a later format": (CHECKPOINT, lambda p: rewrite(p, lambda c: c.update({ENTRY: {"format": 2}})), "unknown format"),
    "another run": (CHECKPOINT, other_run, "of another run"),
    "no record": (RUN, lambda p: p.unlink(), "no such file"),
    "empty record": (RUN, lambda p: p.write_text(""), "not the record of a run; got Expecting value"),
    "record cut off": (RUN, lambda p: p.write_text(p.read_text()[:-20]), "not the record of a run"),
    "list as record": (RUN, lambda p: p.write_text("[]"), "not the record of a run; expected a JSON object; got list"),
    "nested record": (RUN, lambda p: p.write_text("[" * 100_000), "not the record of a run"),
    "binary record": (RUN, lambda p: p.write_bytes(b"\xff\xfe"), "not the record of a run"),
    "folder as record": (RUN, folder_instead, "not a regular file"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_cannot_be_resumed_from_is_named(kind: str, dataset: Dataset, finished: Path, tmp_path: Path):
    name, damage, message = DAMAGE[kind]
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    damage(run / name)
    with pytest.raises(TinysceneError) as refusal:
        train(dataset, run, resume=True)
    assert f"{run / name}: {message}" in str(refusal.value)
    assert f"next: remove {run / CHECKPOINT} and {run / RUN} to train" in str(refusal.value)


def test_files_of_equal_runs_are_equal_also_after_removing_damaged_ones(dataset, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / CHECKPOINT).unlink()
    (run / RUN).unlink()
    (run / "student.pt").unlink()
    train(dataset, run, resume=True)
    assert (run / "student.pt").read_bytes() == (finished / "student.pt").read_bytes()
    assert (run / CHECKPOINT).read_bytes() == (finished / CHECKPOINT).read_bytes()
    records = [json.loads((folder / RUN).read_text()) for folder in (run, finished)]
    for record in records:
        del record["clips_per_second"]
    assert records[0] == records[1]
