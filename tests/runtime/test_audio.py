"""Audio input: sample widths, rates, channels and length; every kind of invalid file is refused in one line."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyscene.runtime.audio import AudioReader, mix_down, read_audio, resample
from tinyscene.runtime.errors import RuntimeFailure

RATE = 32_000


def _noise(seed, samples, channels=1):
    noise = np.random.default_rng(seed).standard_normal((samples, channels)) * 0.1
    return noise[:, 0] if channels == 1 else noise


def _tone(rate, seconds=1.0, hz=1000.0):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize(
    ("suffix", "subtype", "step"),
    [
        ("wav", "PCM_16", 2**-15),
        ("wav", "PCM_24", 2**-23),
        ("wav", "PCM_32", 2**-24),
        ("wav", "FLOAT", 2**-24),
        ("wav", "DOUBLE", 2**-24),
        ("wav", "PCM_U8", 2**-7),
        ("flac", "PCM_16", 2**-15),
        ("flac", "PCM_24", 2**-23),
        ("ogg", "VORBIS", 0.1),
    ],
)
def test_every_sample_width_is_read_exactly(tmp_path, suffix, subtype, step):
    audio = _tone(RATE)
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, audio, RATE, subtype=subtype)
    with AudioReader(path, RATE) as reader:
        assert reader.notes == ()
        assert (reader.info.channels, reader.info.frames, reader.info.seconds) == (1, RATE, 1.0)
        assert reader.info.encoding == f"{suffix.upper()} {subtype}"
        got = np.concatenate(list(reader.blocks(7777)))
    assert got.dtype == np.float32
    assert np.abs(got - audio).max() <= step


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000]),
    samples=st.integers(1, 60_000),
    block=st.integers(1, 70_000),
)
def test_blocks_equal_the_whole_file_resampled(tmp_path, rate, samples, block):
    audio = _noise(samples, samples).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, audio, rate, subtype="FLOAT")
    with AudioReader(path, RATE) as reader:
        blocks = list(reader.blocks(block))
    expected = audio if rate == RATE else soxr.resample(audio, rate, RATE, quality="HQ")
    assert all(len(b) == block for b in blocks[:-1])
    assert np.abs(np.concatenate(blocks) - expected).max() < 1e-6 if len(expected) else not blocks
    assert sum(map(len, blocks)) == len(expected)


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000, 96_000])
def test_resampling_keeps_length_and_frequency(tmp_path, rate):
    path = tmp_path / "tone.wav"
    soundfile.write(path, _tone(rate), rate, subtype="FLOAT")
    got = read_audio(path, RATE)
    assert got.shape == (RATE,)
    middle = slice(2000, -2000)
    assert np.abs(got - _tone(RATE))[middle].max() < 1e-3
    assert np.array_equal(resample(_tone(rate).astype(np.float32), rate, RATE), got)


@pytest.mark.parametrize(
    ("rate", "channels", "notes"),
    [
        (RATE, 1, ()),
        (RATE, 2, ("stereo, mixed down to mono",)),
        (RATE, 6, ("6 channels, mixed down to mono",)),
        (8000, 1, ("8,000 Hz resampled to 32,000 Hz: no content above 4,000 Hz",)),
        (44_100, 1, ("44,100 Hz resampled to 32,000 Hz",)),
        (16_000, 2, ("stereo, mixed down to mono", "16,000 Hz resampled to 32,000 Hz: no content above 8,000 Hz")),
    ],
)
def test_notes_list_the_conversions(tmp_path, rate, channels, notes):
    path = tmp_path / "a.wav"
    soundfile.write(path, _noise(1, rate, channels), rate)
    with AudioReader(path, RATE) as reader:
        assert reader.notes == notes


def test_channels_are_averaged(tmp_path):
    audio = _noise(2, RATE, 3).astype(np.float32)
    path = tmp_path / "three.wav"
    soundfile.write(path, audio, RATE, subtype="FLOAT")
    assert np.array_equal(read_audio(path, RATE), mix_down(audio))
    assert np.allclose(mix_down(audio), audio.mean(axis=1), atol=1e-7)
    assert mix_down(audio[:, 0]) is not None


def _good(path, subtype="PCM_16", seconds=2):
    soundfile.write(path, _tone(RATE, seconds), RATE, subtype=subtype)
    return path.read_bytes()


def _bad_file(folder, kind):
    """Write a file with that fault and return its path."""
    path = folder / f"{kind.replace(' ', '_')}.wav"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("Dear diary, today I recorded nothing.\n" * 30)
    elif kind == "zero samples":
        soundfile.write(path, np.zeros(0), RATE)
    elif kind == "header only":
        path.write_bytes(_good(path)[:30])
    elif kind == "cut":
        path.write_bytes(_good(path)[:50_000])
    elif kind == "cut flac":
        path = path.with_suffix(".flac")
        path.write_bytes(_good(path)[:20_000])
    elif kind in ("cut ogg", "ogg without its end"):
        path = path.with_suffix(".ogg")
        data = _good(path, "VORBIS", 4)
        path.write_bytes(data[: 2 * len(data) // 3] if kind == "cut ogg" else data[:-500])
    elif kind in ("nan", "infinite"):
        audio = _tone(RATE, 2)
        audio[40_000] = np.nan if kind == "nan" else np.inf
        soundfile.write(path, audio, RATE, subtype="FLOAT")
    elif kind == "folder":
        path.mkdir()
    elif kind == "raw":
        path = path.with_suffix(".raw")
        path.write_bytes(bytes(1000))
    return path


UNREADABLE = "not a readable audio file; expected WAV, FLAC, OGG, MP3, AIFF, AU, CAF, W64 or RF64"
BAD = {
    "missing": "no such file; expected an audio file; next: check the path",
    "empty": "empty file; expected audio; got 0 bytes; next:",
    "text": f"{UNREADABLE}; got 1,140 bytes, format not recognised; next:",
    "zero samples": "audio file without samples; next:",
    "header only": f"{UNREADABLE}; got 30 bytes",
    "cut": "truncated audio file; expected 128,000 bytes of samples; got 49,956 bytes; next: copy or record it again",
    "cut flac": "truncated or damaged audio file; expected 64,000 samples; got",
    "cut ogg": "truncated audio file; expected a complete last page; got none; next:",
    "ogg without its end": "truncated audio file; expected a complete last page; got none; next:",
    "nan": "sample 40,000 (1.250 s) is not finite; expected finite samples in [-1, 1]; got [nan]; next: repair",
    "infinite": "sample 40,000 (1.250 s) is not finite; expected finite samples in [-1, 1]; got [inf]; next: repair",
    "folder": "not a file; expected an audio file; got a folder; next: give the files in it",
    "raw": f"{UNREADABLE}; got 1,000 bytes",
}


@pytest.mark.parametrize("kind", BAD)
def test_an_invalid_file_is_refused_in_one_line(tmp_path, kind):
    path = _bad_file(tmp_path, kind)
    with pytest.raises(RuntimeFailure) as refusal:
        read_audio(path, RATE)
    message = str(refusal.value)
    assert message.startswith(f"{path}: {BAD[kind]}"), message
    assert "\n" not in message


def test_a_wav_written_to_a_pipe_is_read_completely(tmp_path):
    """Its header was written before the length was known: all ones."""
    path = tmp_path / "streamed.wav"
    data = bytearray(_good(path))
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff" * 4
    path.write_bytes(bytes(data))
    assert len(read_audio(path, RATE)) == 2 * RATE


def test_three_hours_are_read_in_constant_memory(tmp_path):
    """As FLAC at 8 kHz and resampled, the worst case for buffers; the length is exact."""
    seconds, rate = 3 * 3600, 8000
    path = tmp_path / "long.flac"
    minute = _noise(3, 60 * rate)
    with soundfile.SoundFile(path, "w", rate, 1, subtype="PCM_16") as writer:
        for _ in range(seconds // 60):
            writer.write(minute)
    tracemalloc.start()
    count = 0
    with AudioReader(path, RATE) as reader:
        assert reader.info.seconds == seconds
        for block in reader.blocks(RATE):
            count += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == seconds * RATE
    assert peak < 4_000_000, f"{peak:,} bytes"
