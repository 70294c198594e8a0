"""Your own recordings become a dataset folder: whole recordings per part, and no partial folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tinyscene import command_line
from tinyscene.training.data.tau22 import Tau22

RATE_HZ = 16_000


def _record(path: Path, seconds: float, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).normal(0.0, 0.1, (int(seconds * RATE_HZ), channels))
    soundfile.write(path, noise, RATE_HZ)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for scene in ("kitchen", "city_street"):
        for name in ("one.wav", "two.flac", "deep/three.ogg", "four.WAV", "five.wav"):
            _record(tmp_path / "recordings" / scene / name, 3.4, channels=2 if name == "one.wav" else 1)
    (tmp_path / "recordings" / "notes.txt").write_text("where and when")
    return tmp_path / "recordings"


def test_cut_folders_can_be_opened(recordings, tmp_path, capsys):
    out = tmp_path / "scenes"
    assert command_line.main(["data", "cut", str(recordings), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(out), "train_clips": 24, "test_clips": 6}
    opened = Tau22.open(out)
    assert opened.labels == ("city_street", "kitchen")
    parts = [{r.place for r in part} for part in (opened.train, opened.validation, opened.test)]
    assert not parts[0] & parts[2]
    assert not parts[0] & parts[1]
    assert {soundfile.info(path).frames for path in (out / "audio").iterdir()} == {44_100}


def test_a_folder_among_the_recordings_would_be_a_scene(recordings, capsys):
    assert command_line.main(["data", "cut", str(recordings), "--out", str(recordings / "cut")]) == 2
    assert "lies among the recordings, of which every folder is a scene" in capsys.readouterr().err
    assert not (recordings / "cut").exists()


def test_a_recording_of_about_a_second_is_one_clip_and_hidden_files_are_passed_over(recordings, tmp_path, capsys):
    for scene in ("kitchen", "city_street"):
        _record(recordings / scene / "six.wav", 0.96)
        (recordings / scene / "._six.wav").write_bytes(b"attributes")
    assert command_line.main(["data", "cut", str(recordings), "--out", str(tmp_path / "scenes"), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["train_clips"] + counts["test_clips"] == 32
    assert {soundfile.info(path).frames for path in (tmp_path / "scenes/audio").iterdir()} == {44_100}


def test_the_part_of_a_recording_depends_on_its_name(recordings, tmp_path):
    """Recordings of another scene change no part; they only shift the numbers, as bus sorts before city_street."""
    assert command_line.main(["data", "cut", str(recordings), "--out", str(tmp_path / "a")]) == 0
    for name in ("x.wav", "y.wav"):
        _record(recordings / "bus" / name, 1.5)
    assert command_line.main(["data", "cut", str(recordings), "--out", str(tmp_path / "b")]) == 0
    (before,), (after,) = (
        {int(r.location) for r in Tau22.open(tmp_path / name).test if r.scene == "city_street"} for name in "ab"
    )
    assert after == before + 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: _record(folder / "kitchen" / "short.wav", 0.3), "short.wav: shorter than a clip"),
        (lambda folder: (folder / "kitchen" / "bad.wav").write_text("no audio"), "bad.wav"),
        (lambda folder: _record(folder / "bus" / "only.wav", 2.0), "bus: too few recordings"),
    ],
    ids=["short", "unreadable", "alone"],
)
def test_unusable_recordings_are_named_and_no_folder_is_left(spoil, message, recordings, tmp_path, capsys):
    spoil(recordings)
    assert command_line.main(["data", "cut", str(recordings), "--out", str(tmp_path / "scenes")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["recordings"]


def test_a_folder_without_scenes_is_refused(tmp_path, capsys):
    _record(tmp_path / "loose.wav", 2.0)
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert command_line.main(["data", "cut", str(folder), "--out", str(tmp_path / "scenes")]) == 2
        assert "contains recordings of fewer than two scenes" in capsys.readouterr().err


def test_doubtful_recordings_are_notes(recordings, tmp_path, capsys):
    noise = np.random.default_rng(0).normal(0.0, 0.1, (2 * RATE_HZ, 1))
    for name, samples in (
        ("silent", np.zeros((2 * RATE_HZ, 1))),
        ("opposed", noise * [[1, -1]]),
        ("integers", noise * 32768),
        ("clipped", np.clip(noise * 20, -1, 1)),
    ):
        soundfile.write(recordings / "kitchen" / f"{name}.wav", samples, RATE_HZ, subtype="FLOAT")
    assert command_line.main(["data", "cut", str(recordings), "--out", str(tmp_path / "scenes")]) == 0
    notes = capsys.readouterr().err
    for name, finding in (
        ("silent", "2 of 2 clips are silent"),
        ("opposed", "channels cancel in 2.0 of 2.0 s"),
        ("integers", "are these integers, stored as floats?"),
        ("clipped", "the recording is clipped"),
    ):
        assert any(f"{name}.wav: " in line and finding in line for line in notes.splitlines()), name
