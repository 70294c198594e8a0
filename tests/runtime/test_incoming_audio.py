"""Audio from pipes, raw or with a header: any read size, refusals; options of the command; its output."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.runtime.listening import FRONTEND, RATE, noise
from tests.runtime.wav_files import chunk, wav_bytes
from tinyscene import command_line
from tinyscene.runtime.audio import read_audio
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.commands import APPLIES_TO
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.incoming_audio import Pipe, RawPcm


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


@pytest.mark.parametrize("words", [[], ["clip.wav", "--mic"], ["--mic", "--watch", "."]])
def test_conflicting_sources_are_refused(bundle, capsys, words):
    assert command_line.main(["run", str(bundle.path), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: run: expected files, or - alone, or --mic, or --watch DIR")


VALUES = {"--hop": "1", "--seconds": "2", "--rate": "16000", "--channels": "2", "--encoding": "f32", "--device": "card"}
SOURCES = {"files": ["a.wav"], "-": ["-"], "--mic": ["--mic"], "--watch": ["--watch", "."]}
UNUSED = [(option, source) for option, used in APPLIES_TO.items() for source in SOURCES if source not in used]


@pytest.mark.parametrize(("option", "source"), UNUSED)
def test_an_option_without_effect_is_refused(bundle, capsys, option, source):
    assert command_line.main(["run", str(bundle.path), *SOURCES[source], option, VALUES[option]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: run {option}: does not apply to {source}; expected {option} with ")
    assert line.endswith(f"next: remove {option}")


def test_every_option_has_a_row(bundle):
    """Of those that not all inputs use: 24 pairs, 14 of them without effect."""
    assert set(VALUES) == set(APPLIES_TO) - {"--frontend"}  # which belongs to models
    assert len(UNUSED) == 14


@pytest.mark.parametrize(("option", "value"), [("--rate", "16000"), ("--channels", "1"), ("--encoding", "s16")])
def test_options_of_raw_samples_do_not_apply_to_a_file_in_a_pipe(bundle, monkeypatch, capsys, option, value):
    _pipe(monkeypatch, wav_bytes(np.zeros(RATE, np.int16)))
    assert command_line.main(["run", str(bundle.path), "-", option, value]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: run {option}: does not apply to a WAV file on standard input; expected {option} with"
    )


@pytest.mark.parametrize(("dtype", "encoding"), [(np.int16, "s16"), (np.float32, "f32")])
@pytest.mark.parametrize("declared", [None, 0, 0xFFFFFFFF])
def test_a_wav_file_in_a_pipe_is_read_as_it_arrives(dtype, encoding, declared):
    stereo = (noise(20, 4000) * (20_000 if encoding == "s16" else 1)).astype(dtype).reshape(-1, 2)
    trailing = b"" if declared is not None else chunk(b"LIST", b"not audio")
    source = Pipe(Dribble(wav_bytes(stereo, 16_000, declared=declared) + trailing)).decoded(RATE)
    assert isinstance(source, RawPcm)
    assert source.rate_hz == 16_000
    assert np.array_equal(np.concatenate(list(source.pieces())), stereo)
    assert source.notes == ()


def test_a_wav_file_that_ends_early_in_a_pipe_is_refused(bundle, monkeypatch, capsys):
    _pipe(monkeypatch, wav_bytes((noise(21, 2 * RATE) * 20_000).astype(np.int16), declared=4 * 2 * RATE))
    assert command_line.main(["run", str(bundle.path), "-", "--quiet"]) == 2
    assert (
        "error: -: truncated audio file; expected 256,000 bytes of samples; got 128,000 bytes"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("WAV", "PCM_24"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("CAF", "PCM_16"),
        ("AU", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_a_container_in_a_pipe_is_decoded(tmp_path, form, subtype):
    path = tmp_path / "x.bin"
    soundfile.write(path, noise(22, 2 * 16_000) * 0.5, 16_000, format=form, subtype=subtype)
    source = Pipe(io.BytesIO(path.read_bytes())).decoded(RATE)
    expected = read_audio(path, RATE)
    assert np.array_equal(np.concatenate(list(source.pieces())), expected)
    assert source.notes == ("16,000 Hz resampled to 32,000 Hz: no content above 8,000 Hz",)
    source = Pipe(io.BytesIO(path.read_bytes())).decoded(RATE)
    assert np.array_equal(np.concatenate(list(source.pieces(0.5))), expected[: RATE // 2])


def test_a_container_beyond_the_limit_of_a_pipe_is_refused(monkeypatch):
    monkeypatch.setattr("tinyscene.runtime.incoming_audio.MAX_STORED_BYTES", 2**20)
    with pytest.raises(RuntimeFailure, match="FLAC file too large for a pipe; expected at most 1 MiB"):
        Pipe(io.BytesIO(b"fLaC" + bytes(2**21))).decoded(RATE)


def test_cancelling_channels_in_a_pipe_are_silence_with_a_note(bundle, monkeypatch, capsys):
    left = (noise(23, 2 * RATE) * 20_000).astype(np.int16)
    _pipe(monkeypatch, np.stack([left, -left], axis=1).tobytes())
    assert command_line.main(["run", str(bundle.path), "-", "--channels", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "note: -: channels cancel in 2.0 of 2.0 s: is one of them inverted?",
        "note: -: 2 hops were silent and have no scene",
    ]


def test_a_closed_standard_input_is_one_line(bundle):
    words = [sys.executable, "-m", "tinyscene", "run", str(bundle.path), "-"]
    ran = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *words], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: standard input: is closed; next: open it, or redirect it to a file\n"


@pytest.mark.parametrize("extra", [[], ["--quiet"], ["--json"]])
def test_silence_in_a_file_has_no_scene(bundle, clip, capsys, extra):
    half = clip("half.wav", np.concatenate([noise(24, RATE), np.zeros(2 * RATE, np.float32)]))
    silent = clip("silent.wav", np.full(2 * RATE, 2 / 32768, np.float32))
    assert command_line.main(["run", str(bundle.path), str(half), str(silent), *extra]) == 0
    printed = capsys.readouterr()
    alone = SceneClassifier.open(bundle).classify(noise(24, RATE), RATE)
    if extra == ["--json"]:
        mixed, nothing = json.loads(printed.out)["clips"]
        assert (mixed["label"], list(mixed["scores"].values())) == (alone.label, list(alone.scores))
        assert [hop["label"] for hop in mixed["hops"]] == [alone.label, None, None]
        assert (nothing["label"], nothing["scores"], nothing["hops"][0]["scores"]) == (None, {}, {})
        assert nothing["notes"] == ["2 hops were silent and have no scene"]
    elif extra == ["--quiet"]:
        assert printed.out == f"{half}\t{alone.label}\t{alone.probability:.3f}\n{silent}\t-\t0.000\n"
        assert printed.err == ""
    else:
        lines = printed.out.splitlines()
        assert [line.endswith("silent, no scene") for line in lines] == [False] * 2 + [True] * 2 + [False] * 2 + [
            True
        ] * 3
        assert lines[4].startswith("  mean of 1 hops")
        assert lines[8] == "  all 2 hops are silent, no scene"
        assert f"note: {silent}: 2 hops were silent and have no scene" in printed.err


NAMES = [
    b"tab\there.wav",
    b"line\nbreak.wav",
    b"caf\xe9.wav",
    b"\x1b[31mred.wav",
    "\u202ebidi.wav".encode(),
    b"[bold]x.wav",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_cannot_break_the_output(bundle, clip, tmp_path, name, capsys):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(wav_bytes((noise(25, 2 * RATE) * 20_000).astype(np.int16)))
    for extra in ([], ["--quiet"], ["--json"]):
        assert command_line.main(["run", str(bundle.path), str(path), str(path) + ".gone", *extra]) == 2
        printed = capsys.readouterr()
        (error,) = printed.err.splitlines()
        assert error.startswith(f"error: {tmp_path}/")
        if extra == ["--json"]:
            good, bad = json.loads(printed.out)["clips"]
            assert (good["path"], bad["path"]) == (str(path), str(path) + ".gone")
        else:
            assert all(line.isprintable() for line in printed.out.replace("\t", "").splitlines())
            assert len(printed.out.splitlines()) == (1 if extra else 4)
        if extra == ["--quiet"]:
            assert len(printed.out.split("\t")) == 3


def test_quiet_prints_one_line_per_file_and_no_notes(bundle, clip, capsys):
    narrow = clip("narrow.wav", np.stack([noise(9, 2 * 8000)] * 2, axis=1), 8000, "PCM_16")
    assert command_line.main(["run", str(bundle.path), str(narrow), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    assert printed.out.startswith(f"{narrow}\t")
    assert printed.err == ""
    assert FRONTEND.sample_rate_hz == RATE


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_absurd_samples_of_a_pipe_are_named_by_their_source(value):
    samples = np.zeros((RATE, 2), np.float32)
    samples[20_000, 1] = value
    what = r"sample 20,000 \(0.625 s\) is not finite or far beyond full scale; expected .*; next: "
    with pytest.raises(RuntimeFailure, match=f"raw samples: {what}check --encoding"):
        list(RawPcm(io.BytesIO(samples.tobytes()), RATE, 2, "f32").pieces())
    with pytest.raises(RuntimeFailure, match=f"^-: {what}record it again"):
        list(Pipe(io.BytesIO(wav_bytes(samples))).decoded(RATE).pieces())


def test_the_header_of_a_file_in_a_pipe_is_not_that_of_raw_samples():
    for content, what in [
        (wav_bytes(np.zeros(9, np.int16), 1), "rate"),
        (wav_bytes(np.zeros((9, 65), np.int16)), "ch"),
    ]:
        with pytest.raises(RuntimeFailure, match=f"^-, {what}.*: invalid value"):
            Pipe(io.BytesIO(content)).decoded(RATE)
