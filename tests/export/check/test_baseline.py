"""A baseline fails if a figure is worse or cannot be measured any more; incomplete baseline files are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.export.check.relabelled import relabelled
from tests.export.formats.tflite_models import half_precision
from tests.graphs import small_net
from tests.training.layout import SCENES, write_layout
from tinyscene import command_line
from tinyscene.export.check.baseline import TOLERANCES, BaselineEntry, baseline_text, read_baseline
from tinyscene.export.check.model_figures import FIRMWARE, Figure
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.tflite_write import to_tflite

METRICS = {"int8": {"clips": 36, "accuracy": 0.75}, "top1_agreement_with_float": 0.9}
OTHERS = tuple(f"scene_{i}" for i in range(7))
needs_m4 = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_layout(tmp_path_factory.mktemp("data") / "scenes", places=2, clips=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_bundle, data) -> Path:
    """``good`` classifies some clips correctly, ``bad`` none; two sizes of ``.tflite``; ``good.json`` for all."""
    folder = tmp_path_factory.mktemp("baseline")
    classifier = SceneClassifier.open(tiny_bundle)
    (label,) = {hop.label for hop in classifier.classify_file(next(data.glob("audio/airport-*-s4.wav")))}
    predicted = classifier.labels.index(label)
    others = [i for i in range(10) if i != predicted]
    labels_of_clips = {hop.label for clip in data.glob("audio/*.wav") for hop in classifier.classify_file(clip)}
    never = sorted(range(10), key=lambda i: classifier.labels[i] in labels_of_clips)  # never predicted: first
    places = {
        "good": dict(zip(SCENES, (predicted, *others), strict=False)),
        "bad": dict(zip(SCENES, never, strict=False)),
    }
    for name, place in places.items():
        labels = list(classifier.labels)
        for scene, at in place.items():
            labels[at] = scene
        metrics = (
            METRICS if name == "good" else {"int8": {"clips": 36, "accuracy": 0.7}, "top1_agreement_with_float": 0.8}
        )
        relabelled(folder / name, tiny_bundle, tuple(labels), metrics)
    small = small_net(np.random.default_rng(2), grn=False)
    (folder / "small.tflite").write_bytes(to_tflite(small))
    (folder / "small.onnx").write_bytes(to_onnx(small))
    (folder / "larger.tflite").write_bytes(to_tflite(small_net(np.random.default_rng(2), grn=True, shape=(40, 14, 1))))
    assert (
        command_line.main(["check", str(folder / "good"), "--write-baseline", str(folder / "good.json"), *_on(data)])
        == 0
    )
    return folder


def _on(data: Path) -> list[str]:
    return ["--data", str(data)]


def _check(model: Path, *words: object) -> int:
    return command_line.main(["check", str(model), *map(str, words)])


def _lines(printed: str, word: str) -> list[str]:
    return [line.removeprefix(f"{word}  ") for line in printed.splitlines() if line.startswith(f"{word}  ")]


def _edited(source: Path, target: Path, name: str, **fields: object) -> Path:
    """A copy of a baseline with fields of the first figure of a name changed."""
    content = json.loads(source.read_text())
    entry = next(entry for entry in content["figures"] if entry["name"] == name)
    entry.update(fields)
    target.write_text(json.dumps(content))
    return target


# --- recorded figures, and a check that passes


def test_the_same_model_passes(folder, data, capsys):
    assert _check(folder / "good", "--baseline", folder / "good.json", *_on(data)) == 0
    printed = capsys.readouterr().out
    assert len(_lines(printed, "pass")) == 2 + 6
    assert not _lines(printed, "FAIL")
    baseline = read_baseline(folder / "good.json")
    assert [entry.figure.name for entry in baseline] == ["size", "macs", "arena", "accuracy", "agreement", "accuracy"]
    assert [entry.tolerance for entry in baseline] == [0, 0, 0, 0.01, 0.01, 0.01]
    assert baseline[3].figure.of == "manifest: 36 clips, noise"
    assert baseline[5].figure.of.startswith("6 test clips, list ")


def test_the_accuracy_is_that_of_the_run_command(folder, data):
    classifier = SceneClassifier.open(folder / "good")
    clips = [path for path in data.glob("audio/*.wav") if path.name.split("-")[3] == "2"]
    correct = sum(next(iter(classifier.classify_file(path))).label == path.name.split("-")[0] for path in clips)
    assert len(clips) == 6
    assert correct > 0
    assert read_baseline(folder / "good.json")[5].recorded == correct / 6


def test_a_baseline_is_one_line_a_figure(folder):
    lines = (folder / "good.json").read_text().splitlines()
    assert sum('"recorded"' in line for line in lines) == 6
    baseline = read_baseline(folder / "good.json")
    assert baseline_text(str(folder / "good"), baseline) == (folder / "good.json").read_text()


@needs_m4
def test_firmware_is_recorded_and_measured_again(folder, tmp_path, capsys):
    budget = tmp_path / "budget.json"
    assert _check(folder / "small.tflite", "--write-baseline", budget, "--targets", "cortex-m4") == 0
    by_name = {entry.figure.name: entry for entry in read_baseline(budget) if entry.figure.of == "cortex-m4"}
    assert tuple(by_name) == FIRMWARE
    assert all(entry.recorded > 0 and entry.tolerance == TOLERANCES[name] for name, entry in by_name.items())
    capsys.readouterr()
    assert _check(folder / "small.tflite", "--baseline", budget) == 0
    assert len(_lines(capsys.readouterr().out, "pass")) == 2 + 6
    assert _check(folder / "larger.tflite", "--baseline", budget) == 1
    failed = _lines(capsys.readouterr().out, "FAIL")
    assert {"arena (integer graph)", "ram (cortex-m4)", "instructions (cortex-m4)"} < {
        f.partition(":")[0] for f in failed
    }


# --- failures


@pytest.mark.parametrize("name", ["size", "macs", "arena", "accuracy", "agreement"])
def test_each_figure_alone_fails_the_check(folder, data, tmp_path, capsys, name):
    recorded = {entry.figure.name: entry.recorded for entry in read_baseline(folder / "good.json")}[name]
    worse = recorded + 0.05 if name in ("accuracy", "agreement") else recorded - 1
    budget = _edited(folder / "good.json", tmp_path / "budget.json", name, recorded=worse)
    reports = {kind: tmp_path / f"check.{kind}" for kind in ("out", "junit", "markdown")}
    words = [word for kind, path in reports.items() for word in (f"--{kind}", path)]
    if name == "accuracy":  # the first is the manifest's, 0.75
        _edited(budget, budget, name, recorded=0.80)
    assert _check(folder / "good", "--baseline", budget, *_on(data), *words) == 1
    (failed,) = _lines(capsys.readouterr().out, "FAIL")
    assert failed.startswith(f"{name} (")
    record = json.loads(reports["out"].read_text())
    assert (record["passed"], record["baseline"]) == (False, str(budget))
    assert [c["name"] for c in record["comparisons"] if not c["passed"]] == [name]
    suite = ElementTree.parse(reports["junit"]).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("8", "1")
    names = [case.get("name") for case in suite.findall("testcase")]
    assert len(set(names)) == 8
    assert reports["markdown"].read_text().count("**FAIL**") == 1


def test_a_larger_model_fails(folder, tmp_path, capsys):
    budget = tmp_path / "budget.json"
    assert _check(folder / "small.tflite", "--write-baseline", budget) == 0
    assert _check(folder / "larger.tflite", "--baseline", budget) == 1
    failed = _lines(capsys.readouterr().out, "FAIL")
    assert [line.partition(" ")[0] for line in failed] == ["size", "macs", "arena"]
    assert all("%, recorded " in line for line in failed)


def test_a_less_accurate_model_fails(folder, data, capsys):
    assert _check(folder / "bad", "--baseline", folder / "good.json", *_on(data)) == 1
    failed = _lines(capsys.readouterr().out, "FAIL")
    assert [line.partition(" ")[0] for line in failed] == ["accuracy", "agreement", "accuracy"]
    assert "70.00%, -5.00 points, recorded 75.00% less 1 points" in failed[0]


@pytest.mark.parametrize(
    ("name", "recorded", "tolerance", "allowed", "exceeding"),
    [
        ("size", 1000, 0.0, 1000, 1001),
        ("instructions", 1_000_000, 0.02, 1_020_000, 1_020_001),
        ("accuracy", 0.71, 0.01, 0.70, 0.6999),
        ("agreement", 1.0, 0.0, 1.0, 0.9999),
    ],
)
def test_the_tolerance_is_inclusive(name, recorded, tolerance, allowed, exceeding):
    entry = BaselineEntry(Figure(name, "x"), recorded, tolerance)
    assert entry.admits(allowed)
    assert not entry.admits(exceeding)


# --- figures that cannot be measured fail with a reason


def _failure(capsys, figure: str) -> str:
    failed = [line for line in _lines(capsys.readouterr().out, "FAIL") if line.startswith(figure)]
    assert len(failed) == 1
    assert ": unknown, recorded " in failed[0]
    return failed[0]


def test_without_the_clips_accuracy_fails(folder, capsys):
    assert _check(folder / "good", "--baseline", folder / "good.json") == 1
    assert "give --data FOLDER" in _failure(capsys, "accuracy (6 test clips")


def test_on_other_clips_accuracy_fails(folder, tmp_path, capsys):
    other = write_layout(tmp_path / "other", places=3, clips=1)
    assert _check(folder / "good", "--baseline", folder / "good.json", *_on(other)) == 1
    failed = _failure(capsys, "accuracy (6 test clips")
    assert failed.count("6 test clips, list ") == 3


def test_without_a_manifest_metric_accuracy_fails(folder, data, tiny_bundle, tmp_path, capsys):
    without = relabelled(tmp_path / "without", tiny_bundle, (*OTHERS, *SCENES), {})
    assert _check(without, "--baseline", folder / "good.json", *_on(data)) == 1
    assert "with this figure in its manifest" in _failure(capsys, "agreement")


def test_a_float_file_has_no_arena(folder, tmp_path, capsys):
    budget = tmp_path / "budget.json"
    (tmp_path / "float.tflite").write_bytes(half_precision())
    assert _check(folder / "small.tflite", "--write-baseline", budget) == 0
    assert _check(tmp_path / "float.tflite", "--baseline", budget) == 1
    assert "unknown, recorded" in _failure(capsys, "arena")


def test_a_network_without_an_arena_is_recorded_without_one(folder, tmp_path, capsys):
    budget = tmp_path / "budget.json"
    (tmp_path / "float.tflite").write_bytes(half_precision())
    model = tmp_path / "float.tflite"
    assert _check(model, "--write-baseline", budget) == 0
    assert len(_lines(capsys.readouterr().out, "recorded")) == 2
    assert [entry.figure.name for entry in read_baseline(budget)] == ["size", "macs"]
    assert _check(model, "--baseline", budget) == 0
    capsys.readouterr()
    assert _check(model, "--write-baseline", budget) == 0
    assert "not recorded  arena (integer graph): " in capsys.readouterr().out


def test_without_a_compiler_instructions_fail(folder, tmp_path, monkeypatch, capsys):
    figure = Figure("instructions", "cortex-m4")
    (tmp_path / "budget.json").write_text(baseline_text("x", [BaselineEntry(figure, 1, 0.02)]))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _check(folder / "small.tflite", "--baseline", tmp_path / "budget.json") == 1
    assert "arm-none-eabi-gcc" in _failure(capsys, "instructions (cortex-m4)")


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        (Figure("size", "weight"), "unknown counting rule"),
        (Figure("arena", "fused"), "unknown"),
        (Figure("instructions", "cortex-m99"), "unknown"),
        (Figure("instructions", "host"), "has no emulator"),
        (Figure("accuracy", "1 test clips, list 0"), "none for this model"),
    ],
    ids=str,
)
def test_figures_of_unknown_subjects_fail(folder, tmp_path, capsys, figure, message):
    (tmp_path / "budget.json").write_text(baseline_text("x", [BaselineEntry(figure, 1, 0.0)]))
    assert _check(folder / "small.tflite", "--baseline", tmp_path / "budget.json") == 1
    assert message in _failure(capsys, str(figure))


# --- recording again


def test_recording_again_keeps_tolerances_and_figures(folder, tmp_path, capsys):
    budget = tmp_path / "budget.json"
    assert _check(folder / "small.tflite", "--write-baseline", budget) == 0
    _edited(budget, budget, "size", may_grow=0.25)
    assert _check(folder / "larger.tflite", "--write-baseline", budget, "--rule", "stored") == 0
    baseline = read_baseline(budget)
    assert [str(entry.figure) for entry in baseline] == [
        *("size (dcase)", "macs (dcase)", "arena (integer graph)", "size (stored)", "macs (stored)")
    ]
    assert baseline[0].tolerance == 0.25
    assert _check(folder / "larger.tflite", "--baseline", budget) == 0
    assert "+ 25 %" in capsys.readouterr().out


def test_recording_again_never_loses_a_figure(folder, tmp_path, capsys):
    budget = Path(shutil.copy(folder / "good.json", tmp_path / "budget.json"))
    before = budget.read_bytes()
    assert _check(folder / "good", "--write-baseline", budget) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "accuracy: unknown" in line
    assert budget.read_bytes() == before


def test_another_file_is_not_replaced(folder, tmp_path, capsys):
    other = tmp_path / "package.json"
    other.write_text('{"name": "mine"}')
    assert _check(folder / "small.tflite", "--write-baseline", other) == 2
    assert "not a baseline" in capsys.readouterr().err
    assert other.read_text() == '{"name": "mine"}'
    assert [path.name for path in tmp_path.iterdir()] == ["package.json"]


# --- refusals


def _damaged(good: dict, kind: str) -> str:
    size = good["figures"][0]
    changes = {
        "empty": "",
        "cut": json.dumps(good)[:100],
        "deep": "[" * 100_000,
        "deep figures": json.dumps({**good, "figures": []}).replace("[]", "[" * 900 + "]" * 900),
        "a format of true": json.dumps({**good, "format": True}),
        "a key twice": json.dumps(good)[:-1] + ', "format": 1}',
        "1000 figures": json.dumps({**good, "figures": [size] * 1000}),
        "a list": "[]",
        "another kind": json.dumps({**good, "kind": "tinyscene bench"}),
        "another version": json.dumps({**good, "format": 2}),
        "no figures": json.dumps({**good, "figures": []}),
        "figures of text": json.dumps({**good, "figures": ["size"]}),
        "an unknown name": json.dumps({**good, "figures": [{**size, "name": "weight"}]}),
        "a name that is a list": json.dumps({**good, "figures": [{**size, "name": ["size"]}]}),
        "the other tolerance": json.dumps(
            {**good, "figures": [{"may_fall" if k == "may_grow" else k: v for k, v in size.items()}]}
        ),
        "a field more": json.dumps({**good, "figures": [{**size, "note": ""}]}),
        "a number for words": json.dumps({**good, "figures": [{**size, "of": 3}]}),
        "twice": json.dumps({**good, "figures": [size, size]}),
        "text for a number": json.dumps({**good, "figures": [{**size, "recorded": "10"}]}),
        "true for a number": json.dumps({**good, "figures": [{**size, "recorded": True}]}),
        "not a number": json.dumps({**good, "figures": [{**size, "recorded": float("nan")}]}),
        "infinite": json.dumps({**good, "figures": [{**size, "may_grow": float("inf")}]}),
        "enormous": json.dumps({**good, "figures": [{**size, "recorded": 10**400}]}),
        "below zero": json.dumps({**good, "figures": [{**size, "may_grow": -0.1}]}),
    }
    return changes[kind]


KINDS = (
    *("empty", "cut", "deep", "a list", "another kind", "another version", "no figures", "figures of text"),
    *("deep figures", "a format of true", "a key twice", "1000 figures"),
    *("an unknown name", "a name that is a list", "the other tolerance", "a field more", "a number for words", "twice"),
    *("text for a number", "true for a number", "not a number", "infinite", "enormous", "below zero"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_other_files_are_refused_in_one_line_with_exit_code_2(folder, tmp_path, capsys, kind):
    budget = tmp_path / "budget.json"
    budget.write_text(_damaged(json.loads((folder / "good.json").read_text()), kind))
    assert _check(folder / "small.tflite", "--baseline", budget) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"error: {budget}")
    assert "unexpected" not in line


def test_a_missing_baseline(folder, tmp_path, capsys):
    assert _check(folder / "small.tflite", "--baseline", tmp_path / "none.json") == 2
    assert "--write-baseline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--baseline", "a.json", "--write-baseline", "b.json"], "at most one of"),
        (["--targets", "cortex-m4"], "needs --write-baseline"),
        (["--targets", "cortex-m4", "--baseline", "a.json"], "needs --write-baseline"),
        (["--data", "scenes"], "needs --baseline or --write-baseline"),
        (["--write-baseline", "b.json", "--targets", "host"], "has no emulator"),
        (["--write-baseline", "b.json", "--data", "scenes"], "only a bundle"),
        (["--baseline", "small.json", "--data", "scenes"], "contains no accuracy on clips"),
    ],
)
def test_contradicting_options(folder, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    entry = BaselineEntry(Figure("size", "dcase"), 1, 0.0)
    Path("small.json").write_text(baseline_text("x", [entry]))
    assert _check(folder / "small.tflite", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["small.json"]


def test_clips_that_cannot_be_read_are_an_error(folder, tmp_path, capsys):
    assert _check(folder / "good", "--baseline", folder / "good.json", *_on(tmp_path / "nowhere")) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nowhere" in printed.err
