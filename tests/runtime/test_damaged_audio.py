"""Damaged audio files: one line of ours with a cause in the file, and none of the native decoder's."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
import soundfile

from tests.runtime.listening import RATE, noise
from tests.runtime.wav_files import chunk, wav_bytes
from tinyscene.runtime.audio import read_audio
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.native_messages import native_messages_dropped

PCM = (noise(1, RATE) * 20_000).astype(np.int16)
WAV = wav_bytes(PCM)
FMT, DATA = WAV[12:36], WAV[36:]


def with_fmt(at, form, *values):
    """The WAV file with other values in its format chunk, from offset ``at`` of the chunk's content on."""
    return WAV[: 20 + at] + struct.pack(form, *values) + WAV[20 + at + struct.calcsize(form) :]


def refusal(path, content):
    path.write_bytes(content)
    with pytest.raises(RuntimeFailure) as failure:
        read_audio(path, RATE)
    return str(failure.value)


def test_a_damaged_mp3_prints_nothing_of_the_native_decoder(tmp_path, capfd):
    path = tmp_path / "cut.mp3"
    soundfile.write(path, noise(2, RATE), RATE, format="MP3")
    whole = path.read_bytes()
    for cut in np.linspace(200, len(whole) - 1, 20, dtype=int):
        refusal(path, whole[:cut])
    for at in np.linspace(200, len(whole) - 600, 10, dtype=int):  # zeros where a frame begins
        path.write_bytes(whole[:at] + bytes(500) + whole[at + 500 :])
        with contextlib.suppress(RuntimeFailure):
            read_audio(path, RATE)
    assert capfd.readouterr() == ("", "")


def test_native_messages_return_after_the_last_block(capfd):
    with native_messages_dropped(), native_messages_dropped():
        pass
    with contextlib.suppress(soundfile.LibsndfileError):
        soundfile.read(_broken_mp3())
    assert "resync" in capfd.readouterr().err


REASONS = {
    "no rate": (with_fmt(4, "<I", 0), "format 1 of 16 bits, 1 channel, 0 Hz"),
    "no channels": (with_fmt(2, "<H", 0), "format 1 of 16 bits, 0 channels, 32,000 Hz"),
    "no bits": (with_fmt(14, "<H", 0), "format 1 of 0 bits"),
    "floats of 16 bits": (with_fmt(0, "<H", 3), "format 3 of 16 bits"),
    "no format chunk": (WAV[:12] + DATA, "no format chunk before the samples"),
    "format chunk after the samples": (WAV[:12] + DATA + FMT, "no format chunk before the samples"),
    "a short format chunk": (WAV[:12] + chunk(b"fmt ", FMT[8:16]) + DATA, "a format chunk of 8 bytes"),
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_what_the_header_has(name, tmp_path):
    content, reason = REASONS[name]
    line = refusal(tmp_path / "a.wav", content)
    assert "not a readable audio file" in line
    assert reason in line


def test_reasons_about_the_decoder_itself_are_none(tmp_path):
    path = tmp_path / "head.mp3"
    soundfile.write(path, noise(2, RATE), RATE, format="MP3")
    line = refusal(path, path.read_bytes()[:1131])
    assert "the header is damaged or incomplete; next: copy or record it again" in line


@pytest.mark.parametrize("bits", [4, 8, 24])
def test_bits_that_contradict_the_size_of_a_frame_are_no_guess(bits, tmp_path):
    line = refusal(tmp_path / "a.wav", with_fmt(14, "<H", bits))
    assert f"a contradiction: samples of {bits} bits, but frames of 2 bytes and 64,000 bytes per second" in line


def test_a_wrong_frame_size_alone_is_ignored(tmp_path):
    for size in (0, 1, 7, 0xFFFF):
        (tmp_path / "a.wav").write_bytes(with_fmt(12, "<H", size))
        assert np.array_equal(read_audio(tmp_path / "a.wav", RATE), PCM / np.float32(32768))


def test_24_bits_in_frames_of_4_bytes_are_read(tmp_path):
    samples = PCM.astype("<i4") * 2**8  # as ALSA's arecord writes S24_LE
    form = struct.pack("<HHIIHH", 1, 1, RATE, 4 * RATE, 4, 24)
    body = b"WAVE" + chunk(b"fmt ", form) + chunk(b"data", samples.tobytes())
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    got = read_audio(tmp_path / "a.wav", RATE)
    assert np.corrcoef(got, PCM)[0, 1] > 0.999


def _broken_mp3():
    import io

    file = io.BytesIO()
    soundfile.write(file, noise(2, RATE), RATE, format="MP3")
    content = file.getvalue()
    return io.BytesIO(content[:2000] + bytes(3000) + content[5000:])
