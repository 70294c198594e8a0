"""Faults of every kind in one folder are all reported at once, before the first training step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.training.data import decode
from tinyscene.training.data.faults import KINDS, by_kind
from tinyscene.training.data.tau22 import Inspection, Tau22, inspect
from tinyscene.training.distillation.soft_targets import SoftTargets, save_logits
from tinyscene.training.errors import TrainingError

RATE_HZ = 44_100
TRAIN = "evaluation_setup/fold1_train.csv"
RECIPE = "model: cpm23-8\nepochs: 1\nbatch_size: 16\nlearning_rate: 1.0e-3\n"
SILENCE = np.zeros(RATE_HZ)
TONE = np.sin(np.arange(RATE_HZ) / 20)
NAN = np.full(RATE_HZ, np.nan, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "tau")


def clip(folder: Path, number: int) -> Path:
    """A training clip of the scene airport."""
    return folder / f"audio/airport-arden-{number // 2}-{number // 2}-{number % 2}-a.wav"


def add_row(folder: Path, row: str, table: str = TRAIN) -> None:
    with open(folder / table, "a") as file:
        file.write(f"{row}\n")


def cut_in_half(folder: Path) -> None:
    path = clip(folder, 2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Kind, a function that plants the fault, and part of its message.
PLANTED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "row cut off": ("split file", lambda d: add_row(d, "audio/bus-arden-1-1-0-a.wav"), "line 50: 1 columns, not 2"),
    "no place": ("file name", lambda d: add_row(d, "audio/bus-1-1-0-a.wav\tbus"), "is not scene-city-location"),
    "other label": ("label", lambda d: add_row(d, "audio/bus-arden-1-1-0-a.wav\tpark"), "has the label 'park'"),
    "other device": ("device", lambda d: add_row(d, "audio/bus-arden-1-1-0-d.wav\tbus"), "unknown device 'd'"),
    "twice": ("duplicate", lambda d: add_row(d, "audio/bus-arden-100-0-0-a.wav\tbus"), "100-0-0-a.wav occurs"),
    "both": ("duplicate", lambda d: add_row(d, "audio/bus-arden-104-4-0-a.wav\tbus"), "in the training and the test"),
    "not copied": ("missing file", lambda d: add_row(d, "audio/bus-arden-9-9-0-a.wav\tbus"), "no file audio/bus-ard"),
    "text": ("not decodable", lambda d: clip(d, 0).write_text("RIFF nonsense"), "airport-arden-0-0-0-a.wav cannot"),
    "empty": ("not decodable", lambda d: clip(d, 1).write_bytes(b""), "airport-arden-0-0-1-a.wav cannot"),
    "cut off": ("not decodable", cut_in_half, "1-1-0-a.wav cannot be decoded (truncated audio file, got"),
    "long": ("not one second", lambda d: soundfile.write(clip(d, 3), np.zeros(441_000), RATE_HZ), "is 10.00 s long"),
    "NaN": ("not finite", lambda d: soundfile.write(clip(d, 4), NAN, RATE_HZ, subtype="FLOAT"), "(0.000 s) is not fi"),
    "slow": ("sample rate", lambda d: soundfile.write(clip(d, 5), TONE[:22_050], 22_050), "has 22,050 Hz, the"),
    "only trained": ("label", lambda d: add_row(d, "audio/tram-arden-8-8-0-a.wav\ttram"), "tram' does not occur in"),
}  # fmt: skip


def lines_of(inspection: Inspection, kind: str) -> str:
    return "\n".join(by_kind(inspection.faults).get(kind, ()))


def test_a_good_folder_has_no_faults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(folder, progress=False).faults == ()
    assert command_line.main(["data", "check", str(folder)]) == 0
    head, columns, training, validation, test = capsys.readouterr().out.splitlines()
    assert head == f"{folder}: no faults"
    assert columns.split() == ["clips", "scenes", "devices", "cities", "places", "hours"]
    assert training.split() == ["training", "36", "3", "2", "1", "9", "0.01"]
    assert [validation.split()[1], test.split()[1]] == ["12", "12"]


def test_silent_and_clipped_clips_are_doubts_and_no_faults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(clip(folder, 0), SILENCE, RATE_HZ)
    soundfile.write(
        clip(folder, 1), np.where(np.arange(RATE_HZ) % 2, 1, -1) / 32_768, RATE_HZ
    )  # a muted input's dither
    soundfile.write(clip(folder, 2), np.clip(8 * TONE, -1, 1), RATE_HZ)
    soundfile.write(clip(folder, 3), np.full(RATE_HZ, 0.25), RATE_HZ)
    soundfile.write(clip(folder, 4), np.stack([TONE, -TONE], axis=1) / 2, RATE_HZ)
    expected = {
        "silent": ["airport-arden-0-0-0-a.wav is silent", "airport-arden-0-0-1-a.wav is silent"],
        "doubtful samples": [
            "airport-arden-1-1-0-a.wav (92% of the samples are at full scale: the recording is clipped)",
            "airport-arden-1-1-1-a.wav (all samples are about 0.250: a constant, no sound)",
            "airport-arden-2-2-0-a.wav (channels cancel in 1.0 of 1.0 s, which count as silence: "
            "is one of them inverted?)",
        ],
    }
    assert command_line.main(["data", "check", str(folder)]) == 0
    head, _, *_, silent, first, second, doubtful, _, _, _ = capsys.readouterr().out.splitlines()
    assert head == f"{folder}: no faults, 5 doubts"
    assert (silent, doubtful) == ("silent: 2", "doubtful samples: 3")
    assert [first, second] == [f"  audio/{line}" for line in expected["silent"]]
    assert command_line.main(["data", "check", str(folder), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["doubts"] == {kind: [f"audio/{line}" for line in lines] for kind, lines in expected.items()}
    assert record["faults"] == {}
    Tau22.open(folder)


@pytest.mark.parametrize("name", PLANTED)
def test_each_fault_alone(name: str, folder: Path) -> None:
    kind, plant, message = PLANTED[name]
    plant(folder)
    assert message in lines_of(inspect(folder, progress=False), kind)


def test_all_faults_are_reported_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _, plant, _ in PLANTED.values():
        plant(folder)
    assert command_line.main(["data", "check", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    for kind, _, message in PLANTED.values():
        heading = next(i for i, line in enumerate(lines) if line.startswith(f"{kind}: "))
        count = int(lines[heading].rpartition(" ")[2])
        if message.startswith("line"):
            continue  # other faults change its line number
        assert any(message in line for line in lines[heading + 1 : heading + 1 + count])
    assert command_line.main(["data", "check", str(folder), "--json"]) == 2
    record = json.loads(capsys.readouterr().out)
    listed = [line.strip() for line in lines[1:] if line.startswith("  ")]
    assert [what for kind in record["faults"].values() for what in kind] == listed
    assert lines[0] == f"{folder}: {len(listed)} faults"
    assert set(record["faults"]) == set(KINDS) - {"part not complete", "cache of other clips"}


@pytest.mark.parametrize("name", ["not copied", "text", "slow"])
def test_training_refuses_faults_before_the_first_step(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "read_clip", lambda *_: pytest.fail("decoded before the faults were reported"))
    PLANTED[name][1](folder)
    PLANTED["NaN"][1](folder)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    words = ["train", str(tmp_path / "mine.yaml"), "--data", str(folder), "--out", str(tmp_path / "run")]
    assert command_line.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "2 faults" in line
    assert f"{PLANTED[name][0]} 1" in line
    assert "not finite 1" in line
    assert line.endswith(f"next: tinyscene data check {folder}")
    assert list(tmp_path.glob("run/cache/waveforms*")) == []


def test_caches_of_other_clips_are_faults(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    opened = Tau22.open(folder)
    opened.load(8_000, run / "cache", progress=False)
    names = tuple(r.filename for r in opened.train)
    logits = run / "teachers/0-cpm23-8/logits-train.npz"
    save_logits(logits, SoftTargets(names, np.zeros((len(names), 3), np.float32)), "digest")
    assert inspect(folder, run_folder=run, progress=False).faults == ()
    save_logits(logits, SoftTargets(names[::-1], np.zeros((len(names), 3), np.float32)), "digest")
    os.utime(clip(folder, 0), (0, 0))  # the clip changed after decoding
    PLANTED["not copied"][1](folder)
    faults = by_kind(inspect(folder, run_folder=run, progress=False).faults)
    assert [line.partition(" belongs to other")[0] for line in faults["cache of other clips"]] == [
        str(path) for path in (*run.glob("cache/*.npy"), logits)
    ]
    assert len(faults["missing file"]) == 1
    (tmp_path / "mine.yaml").write_text(RECIPE)
    words = ["train", str(tmp_path / "mine.yaml"), "--data", str(folder), "--out", str(run), "--resume"]
    assert command_line.main(words) == 2
    assert "3 faults (missing file 1, cache of other clips 2)" in capsys.readouterr().err
    assert command_line.main(["data", "check", str(folder), "--run-folder", str(run)]) == 2
    assert "cache of other clips: 2" in capsys.readouterr().out


def test_a_folder_that_was_moved_keeps_its_caches(folder: Path, tmp_path: Path) -> None:
    Tau22.open(folder).load(8_000, tmp_path / "run/cache", progress=False)
    moved = folder.rename(tmp_path / "elsewhere")
    assert inspect(moved, run_folder=tmp_path / "run", progress=False).faults == ()


def test_unusual_encodings_are_accepted(folder: Path) -> None:
    for number, subtype in enumerate(("FLOAT", "DOUBLE", "ULAW", "PCM_U8", "PCM_32")):
        soundfile.write(clip(folder, number), 0.1 * np.ones(RATE_HZ), RATE_HZ, subtype=subtype)
    assert inspect(folder, progress=False).faults == ()


def test_a_clip_that_vanishes_while_decoding_is_named(folder: Path, tmp_path: Path) -> None:
    opened = Tau22.open(folder)
    whole = decode.clip_faults

    def then_lost(*args: object, **named: object) -> list[object]:
        faults = whole(*args, **named)
        clip(folder, 0).unlink()
        return faults

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "clip_faults", then_lost)
        with pytest.raises(TrainingError, match=r"airport-arden-0-0-0-a\.wav: cannot be decoded; got no such file"):
            opened.load(8_000, tmp_path / "cache", progress=False)
