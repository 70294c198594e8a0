"""Evaluations of a checkpoint and of a bundle, by groups of clips, and comparisons paired clip by clip."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training import layout
from tinyscene import command_line
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.engines import ENGINES, available_engines
from tinyscene.runtime.spec import preset
from tinyscene.training.commands.output import evaluation_lines
from tinyscene.training.errors import TrainingError
from tinyscene.training.evaluation.evaluation import difference, evaluate_model
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import save_model
from tinyscene.training.models.config import named_config
from tinyscene.training.statistics import sign_test

FRONTEND = preset("cpm23")


def checkpoint(path: Path, labels: tuple[str, ...] = layout.SCENES, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = named_config("cpm23-8", n_classes=len(labels))
    save_model(path, build_model(config), config, FRONTEND, labels, {})
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layout.write_layout(tmp_path_factory.mktemp("data") / "tau", places=2, clips=3)


def test_groups_of_devices(data: Path, tmp_path: Path) -> None:
    found = evaluate_model(checkpoint(tmp_path / "x.pt"), data, progress=False)
    assert found.engine == "torch"
    assert found.seen is not None
    assert found.unseen is not None
    assert (found.seen.devices, found.unseen.devices) == (("a",), ("s4",))
    assert found.seen.clips + found.unseen.clips == found.metrics.clips == len(found.right)
    assert found.seen.accuracy == found.metrics.per_device["a"]
    assert sum(found.right) / len(found.right) == pytest.approx(found.metrics.accuracy)


def test_a_bundle_answers_through_its_engine(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SCENES", ("scene_0", "scene_1", "scene_2"))
    folder = layout.write_layout(tmp_path / "tau", places=1, clips=1)
    found = evaluate_model(tiny_bundle.path, folder, engine="numpy-single", progress=False)
    assert found.engine == "numpy-single"
    assert len(found.metrics.confusion) == 10
    assert math.isfinite(found.metrics.log_loss)
    confusion = tuple(tuple(7 * (i == 1 and j == 8) for j in range(10)) for i in range(10))
    lines = evaluation_lines(replace(found, metrics=replace(found.metrics, confusion=confusion)), None)
    assert "  most often confused: scene_1 for scene_8 (7)" in list(lines)


@pytest.fixture(scope="module")
def ten_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SCENES", tuple(f"scene_{i}" for i in range(4)))
        return layout.write_layout(tmp_path_factory.mktemp("ten") / "tau", places=1, clips=2)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_tells_what_the_specification_tells(engine: str, tiny_bundle: Bundle, ten_scenes: Path) -> None:
    if available_engines()[engine]:
        pytest.skip(available_engines()[engine])
    rule = "single" if engine in ("ort", "litert") else "double"
    found = evaluate_model(tiny_bundle.path, ten_scenes, engine=engine, progress=False)
    expected = evaluate_model(tiny_bundle.path, ten_scenes, engine=f"numpy-{rule}", progress=False)
    assert found.engine == engine
    assert found.provenance["command"].endswith(f"--engine {engine}")
    assert found.metrics.confusion == expected.metrics.confusion
    assert found.metrics.log_loss == pytest.approx(expected.metrics.log_loss, abs=0.05)


def test_groups_add_up_and_one_place_has_no_interval(data: Path, tmp_path: Path) -> None:
    found = evaluate_model(checkpoint(tmp_path / "x.pt"), data, progress=False)
    for groups in (found.classes, found.devices, found.cities):
        assert sum(group.clips for group in groups) == found.metrics.clips
        right = sum(group.clips * group.accuracy for group in groups)
        assert right == pytest.approx(sum(found.right))
    assert {group.name: group.accuracy for group in found.devices} == found.metrics.per_device
    assert {group.name: group.accuracy for group in found.cities} == found.metrics.per_city
    assert all(group.interval is None for group in found.classes)  # a single place each
    for group in (*found.devices, *found.cities):
        assert group.interval is not None
        assert group.interval[0] <= group.accuracy <= group.interval[1]


def test_difference_is_paired(data: Path, tmp_path: Path) -> None:
    this = evaluate_model(checkpoint(tmp_path / "x.pt"), data, progress=False)
    path = tmp_path / "this.json"
    this.write(path)
    same = difference(this, path)
    assert (same.gain, same.only_this, same.only_other, same.p) == (0, 0, 0, 1)
    record = json.loads(path.read_text())
    flipped = [i for i, right in enumerate(record["right"]) if right][:2]
    for i in flipped:
        record["right"][i] = False
    # The order of clips does not matter, their names do.
    record["names"], record["right"] = record["names"][::-1], record["right"][::-1]
    path.write_text(json.dumps(record))
    better = difference(this, path)
    assert (better.only_this, better.only_other) == (len(flipped), 0)
    assert better.gain == pytest.approx(len(flipped) / len(this.names))
    record["names"][0] = "another.wav"
    path.write_text(json.dumps(record))
    with pytest.raises(TrainingError, match="other clips"):
        difference(this, path)
    path.write_text("{}")
    with pytest.raises(TrainingError, match="no evaluation"):
        difference(this, path)


@pytest.mark.parametrize(("wins", "losses", "p"), [(0, 0, 1.0), (5, 5, 1.0), (8, 1, 2 * 10 / 512), (0, 10, 2 / 1024)])
def test_sign_test(wins: int, losses: int, p: float) -> None:
    assert sign_test(wins, losses) == pytest.approx(p)


def test_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = checkpoint(tmp_path / "one.pt"), checkpoint(tmp_path / "other.pt", seed=1)
    assert command_line.main(["eval", str(one), "--data", str(data), "--out", str(tmp_path / "one.json")]) == 0
    said = capsys.readouterr().out
    for part in ("unseen devices", "by city: arden", "by class: airport", "most often confused"):
        assert part in said
    assert command_line.main(["eval", str(other), "--data", str(data), "--against", str(tmp_path / "one.json")]) == 0
    assert "McNemar p = " in capsys.readouterr().out
    strange = checkpoint(tmp_path / "strange.pt", labels=("airport", "bus", "tram"))
    assert command_line.main(["eval", str(strange), "--data", str(data)]) == 2
    assert "not a label of the model" in capsys.readouterr().err
