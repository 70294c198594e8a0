"""Audio from pipes and folders: any read size, refusals, files that are still being written; the command on both."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.runtime.listening import FRONTEND, LABELS, RATE, noise
from tinyscene import command_line
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.incoming_audio import RawPcm
from tinyscene.runtime.watched_folder import arriving_files


class Dribble(io.RawIOBase):
    """A pipe that returns a few bytes at a time, not aligned to samples."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, size: int = -1) -> bytes:
        step = 1 + self._at % 1001
        piece = self._data[self._at : self._at + min(step, size)]
        self._at += len(piece)
        return piece


@pytest.mark.parametrize(("encoding", "dtype"), [("s16", "<i2"), ("f32", "<f4")])
def test_samples_are_unchanged(encoding, dtype):
    samples = (noise(1, 20_000) * (20_000 if encoding == "s16" else 1)).astype(dtype).reshape(-1, 2)
    pcm = RawPcm(Dribble(samples.tobytes() + b"\x01\x02\x03"), RATE, 2, encoding)
    assert np.array_equal(np.concatenate(list(pcm.pieces())), samples)
    assert pcm.notes == ("3 bytes at the end are not a whole sample and were dropped",)


def test_reading_stops_after_the_given_seconds():
    samples = np.zeros(3 * RATE, "<i2")
    assert sum(map(len, RawPcm(io.BytesIO(samples.tobytes()), RATE).pieces(1.25))) == RATE * 5 // 4


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((RATE, 1, "s24"), r"encoding: invalid value; expected s16 or f32; got s24"),
        ((RATE, 0, "s16"), "channels: invalid value"),
        ((0, 1, "s16"), "rate: invalid value"),
    ],
)
def test_invalid_settings_are_refused(arguments, complaint):
    with pytest.raises(RuntimeFailure, match=complaint):
        RawPcm(io.BytesIO(), *arguments)


def _pipe(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_run_classifies_a_pipe(bundle, monkeypatch, capsys):
    integers = (noise(2, 5 * RATE) * 20_000).astype("<i2")
    expected = list(SceneClassifier.open(bundle).stream(RATE, 0.6).events([integers]))
    _pipe(monkeypatch, integers.tobytes())
    assert command_line.main(["run", str(bundle.path), "-", "--hop", "0.6", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["label"] for r in records] == [event.label for event in expected]
    assert [list(r["scores"].values()) for r in records] == [list(event.scores) for event in expected]
    _pipe(monkeypatch, integers.tobytes())
    assert command_line.main(["run", str(bundle.path), "-", "--hop", "0.6"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(expected)
    assert lines[0].startswith(f"> {expected[0].time_s:9.2f} s   {expected[0].label}")
    _pipe(monkeypatch, integers.tobytes() + b"\x00")
    assert command_line.main(["run", str(bundle.path), "-", "--hop", "0.6", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == sum(event.changed for event in expected)
    assert printed.err == ""


@pytest.mark.parametrize(
    ("data", "words", "complaint"),
    [
        (b"", [], "too short for this model; expected at least 0.95 s; got 0 s"),
        (bytes(2 * 30_000), [], "got 0.9375 s"),
        (b"RIFF" + bytes(90_000), [], "got RIFF format; next: convert it"),
        (bytes(100), ["--encoding", "mp3"], "expected s16 or f32"),
        (bytes(100), ["--hop", "0.5"], "hop_s: invalid value"),
        (bytes(100), ["more.wav"], "or - alone"),
        (bytes(100), ["--mic"], "or - alone"),
    ],
)
def test_an_invalid_pipe_is_one_line(bundle, monkeypatch, capsys, data, words, complaint):
    _pipe(monkeypatch, data)
    assert command_line.main(["run", str(bundle.path), "-", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert complaint in printed.err.splitlines()[-1]
    assert len(printed.err.splitlines()) == 1


def test_a_note_reports_silence_in_a_pipe(bundle, monkeypatch, capsys):
    _pipe(monkeypatch, bytes(2 * 3 * RATE))
    assert command_line.main(["run", str(bundle.path), "-"]) == 0
    assert capsys.readouterr() == ("", "note: -: 3 hops were silent and have no scene\n")


def test_each_file_is_returned_once_and_complete(clip, tmp_path):
    clip("b.wav", noise(3, RATE))
    clip("a.flac", noise(4, RATE), subtype="PCM_16")
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "empty.wav").touch()
    sizes = {}

    def write_slowly():
        data = (tmp_path / "b.wav").read_bytes()
        with open(tmp_path / "late.wav", "wb", buffering=0) as stream:
            for at in range(0, len(data), len(data) // 8 + 1):
                stream.write(data[at : at + len(data) // 8 + 1])
                time.sleep(0.05)
        sizes["late"] = len(data)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    names = []
    for path in arriving_files(tmp_path, seconds=1.5, poll_s=0.12):
        names.append(path.name)
        if path.name == "late.wav":
            assert path.stat().st_size == sizes["late"]
    writer.join()
    assert names == ["a.flac", "b.wav", "late.wav"]


def test_a_name_that_returns_is_another_recording(clip, tmp_path):
    first, names = clip("a.wav", noise(5, RATE)), []
    for path in arriving_files(tmp_path, seconds=1.5, poll_s=0.05):
        names.append(path.name)
        if len(names) == 1:
            first.unlink()
            threading.Timer(0.15, clip, ("a.wav", noise(6, RATE))).start()
    assert names == ["a.wav", "a.wav"]


def test_run_watches_a_folder(bundle, clip, tmp_path, capsys):
    path = clip("good.wav", noise(7, 2 * RATE))
    assert command_line.main(["run", str(bundle.path), "--watch", str(tmp_path), "--seconds", "0.6", "--quiet"]) == 0
    name, label, probability = capsys.readouterr().out.strip().split("\t")
    whole = SceneClassifier.open(bundle).classify_file(path)
    assert name == str(path)
    assert label in LABELS
    assert 0 < float(probability) <= 1
    assert len(list(whole)) == 2
    (tmp_path / "bad.wav").write_text("no audio")
    words = ["run", str(bundle.path), "--watch", str(tmp_path), "--seconds", "0.6", "--json"]
    assert command_line.main(words) == 2
    printed = capsys.readouterr()
    records = [json.loads(line) for line in printed.out.splitlines()]
    assert {record["path"]: "error" in record for record in records} == {
        str(path): False,
        str(tmp_path / "bad.wav"): True,
    }
    assert printed.err.startswith(f"error: {tmp_path / 'bad.wav'}")


def test_a_missing_folder_is_refused(bundle, clip, tmp_path, capsys):
    for place in (tmp_path / "nowhere", clip("a.wav", noise(8, RATE))):
        assert command_line.main(["run", str(bundle.path), "--watch", str(place)]) == 2
        assert "not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["clip.wav", "--mic"], ["clip.wav", "--hop", "0.6"], ["clip.wav", "--seconds", "2"]]
)
def test_conflicting_sources_are_refused(bundle, capsys, words):
    assert command_line.main(["run", str(bundle.path), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: run")


def test_quiet_prints_one_line_per_file_and_no_notes(bundle, clip, capsys):
    narrow = clip("narrow.wav", np.stack([noise(9, 2 * 8000)] * 2, axis=1), 8000, "PCM_16")
    assert command_line.main(["run", str(bundle.path), str(narrow), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert printed.out.startswith(f"{narrow}\t")
    assert printed.err == ""
    assert FRONTEND.sample_rate_hz == RATE
