"""Evaluations of a checkpoint and of a bundle, by groups of clips, and paired comparisons."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training import layout
from tinyscene import command_line
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.engines import ENGINES, available_engines
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.spec import preset
from tinyscene.training.commands.output import evaluation_lines
from tinyscene.training.data.split_files import Record
from tinyscene.training.data.tau22 import Tau22
from tinyscene.training.errors import TrainingError
from tinyscene.training.evaluation.evaluation import EarlierEvaluation, difference, evaluate_model, evaluation_of
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import save_model
from tinyscene.training.models.config import named_config

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
    evaluation = evaluate_model(checkpoint(tmp_path / "x.pt"), data, progress=False)
    assert evaluation.engine == "torch"
    assert evaluation.seen is not None
    assert evaluation.unseen is not None
    assert (evaluation.seen.devices, evaluation.unseen.devices) == (("a",), ("s4",))
    assert evaluation.seen.clips + evaluation.unseen.clips == evaluation.metrics.clips == len(evaluation.right)
    assert evaluation.seen.accuracy == evaluation.metrics.per_device["a"]
    assert sum(evaluation.right) / len(evaluation.right) == pytest.approx(evaluation.metrics.accuracy)


def test_a_bundle_is_evaluated_with_its_engine(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SCENES", ("scene_0", "scene_1", "scene_2"))
    folder = layout.write_layout(tmp_path / "tau", places=1, clips=1)
    evaluation = evaluate_model(tiny_bundle.path, folder, engine="numpy-single", progress=False)
    assert evaluation.engine == "numpy-single"
    assert len(evaluation.metrics.confusion) == 10
    assert math.isfinite(evaluation.metrics.log_loss)
    confusion = tuple(tuple(7 * (i == 1 and j == 8) for j in range(10)) for i in range(10))
    lines = evaluation_lines(replace(evaluation, metrics=replace(evaluation.metrics, confusion=confusion)), None)
    assert "  most frequent confusions: scene_1 as scene_8 (7)" in list(lines)


@pytest.fixture(scope="module")
def ten_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SCENES", tuple(f"scene_{i}" for i in range(4)))
        return layout.write_layout(tmp_path_factory.mktemp("ten") / "tau", places=1, clips=2)


@pytest.mark.parametrize("engine", [name for name in ENGINES if not name.startswith("numpy-")])
def test_every_engine_agrees_with_the_specification(engine: str, tiny_bundle: Bundle, ten_scenes: Path) -> None:
    if available_engines()[engine]:
        pytest.skip(available_engines()[engine])
    rule = "single" if engine in ("ort", "litert") else "double"
    evaluation = evaluate_model(tiny_bundle.path, ten_scenes, engine=engine, progress=False)
    expected = evaluate_model(tiny_bundle.path, ten_scenes, engine=f"numpy-{rule}", progress=False)
    assert evaluation.engine == engine
    assert evaluation.provenance["command"].endswith(f"--engine {engine}")
    assert evaluation.metrics.confusion == expected.metrics.confusion
    assert evaluation.metrics.log_loss == pytest.approx(expected.metrics.log_loss, abs=0.05)


def test_groups_add_up_and_one_place_has_no_interval(data: Path, tmp_path: Path) -> None:
    evaluation = evaluate_model(checkpoint(tmp_path / "x.pt"), data, progress=False)
    for groups in (evaluation.classes, evaluation.devices, evaluation.cities):
        assert sum(group.clips for group in groups) == evaluation.metrics.clips
        right = sum(group.clips * group.accuracy for group in groups)
        assert right == pytest.approx(sum(evaluation.right))
    assert {group.name: group.accuracy for group in evaluation.devices} == evaluation.metrics.per_device
    assert {group.name: group.accuracy for group in evaluation.cities} == evaluation.metrics.per_city
    assert all(group.interval is None for group in evaluation.classes)  # a single place each
    for group in (*evaluation.devices, *evaluation.cities):
        assert group.interval is not None
        assert group.interval[0] <= group.accuracy <= group.interval[1]


def test_difference_is_paired(data: Path, tmp_path: Path) -> None:
    this = evaluate_model(checkpoint(tmp_path / "x.pt"), data, progress=False)
    path = tmp_path / "this.json"
    this.write(path)
    same = difference(this, EarlierEvaluation.read(path))
    assert (same.gain, same.only_this, same.only_other, same.p) == (0, 0, 0, 1)
    record = json.loads(path.read_text())
    flipped = [i for i, right in enumerate(record["right"]) if right][:2]
    for i in flipped:
        record["right"][i] = False
    # The order of clips does not matter, their names do.
    record["names"], record["right"] = record["names"][::-1], record["right"][::-1]
    path.write_text(json.dumps(record))
    better = difference(this, EarlierEvaluation.read(path))
    assert (better.only_this, better.only_other) == (len(flipped), 0)
    assert better.gain == pytest.approx(len(flipped) / len(this.names))
    record["names"][0] = "another.wav"
    path.write_text(json.dumps(record))
    with pytest.raises(TrainingError, match="other clips"):
        difference(this, EarlierEvaluation.read(path))


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", "{", "[" * 100_000, '{"model": NaN}', '{"model": 1, "names": ["a"], "right": [true]}'),
        *('{"model": "m", "names": ["a"], "right": [1]}', '{"model": "m", "names": ["a", "a"], "right": [true, true]}'),
        *('{"model": "m", "names": ["a"], "right": []}', '{"model": "m", "names": [["a"]], "right": [true]}'),
        f'{{"model": "m", "names": ["a"], "right": [{"9" * 9000}]}}',
    ],
)
def test_other_files_are_no_evaluation(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(TinysceneError, match=r"other\.json"):
        EarlierEvaluation.read(tmp_path / "other.json")


@pytest.mark.parametrize("single", ["a", "s4"])  # a device of the training part, and another
def test_text_output_where_seen_or_unseen_clips_are_from_one_place(single: str) -> None:
    def clip(device: str, place: int) -> Record:
        return Record(f"audio/{device}-{place}.wav", "bus", "arden", str(place), str(place), "0", device)

    other = "s4" if single == "a" else "a"
    test = (clip(single, 1), clip(other, 1), clip(other, 2))
    opened = Tau22(Path("tau"), ("bus", "park"), (clip("a", 9),), (), test)
    logits = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    lines = list(evaluation_lines(evaluation_of(logits, ("bus", "park"), opened, "x.pt", "torch", {}), None))
    name = "seen" if single == "a" else "unseen"
    assert f"  {name} devices 100.0% (one place), 1 clips: {single}" in lines
    assert len([line for line in lines if "(one place)" in line]) == 1


def test_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = checkpoint(tmp_path / "one.pt"), checkpoint(tmp_path / "other.pt", seed=1)
    assert command_line.main(["eval", str(one), "--data", str(data), "--out", str(tmp_path / "one.json")]) == 0
    printed = capsys.readouterr().out
    for part in ("unseen devices", "by city: arden", "by class: airport", "most frequent confusions"):
        assert part in printed
    assert command_line.main(["eval", str(other), "--data", str(data), "--against", str(tmp_path / "one.json")]) == 0
    assert "McNemar p = " in capsys.readouterr().out
    other_labels = checkpoint(tmp_path / "strange.pt", labels=("airport", "bus", "tram"))
    assert command_line.main(["eval", str(other_labels), "--data", str(data)]) == 2
    assert "not a label of the model" in capsys.readouterr().err
