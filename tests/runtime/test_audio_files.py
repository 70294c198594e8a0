"""Audio files as they arrive: sizes written before the end, containers, names, entries that are no files, mutants."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.runtime.listening import RATE, noise
from tests.runtime.wav_files import chunk, wav_bytes
from tinyscene.runtime.audio import AudioReader, read_audio
from tinyscene.runtime.containers import DECODED, HEAD_BYTES, container
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.limits import MAX_PEAK
from tinyscene.runtime.wav_header import wav_header

PCM = (noise(1, 2 * RATE) * 20_000).astype(np.int16)
PLACEHOLDERS = [0, 1_000_000_000, 2_000_000_000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF - 36, 0xFFFFFFFF]
FORMATS = [  # container, encoding, suffix
    ("WAV", "PCM_16", "wav"),
    ("WAVEX", "PCM_24", "wav"),
    ("RF64", "PCM_16", "rf64"),
    ("W64", "PCM_16", "w64"),
    ("AIFF", "PCM_16", "aiff"),
    ("CAF", "PCM_16", "caf"),
    ("AU", "FLOAT", "au"),
    ("FLAC", "PCM_16", "flac"),
    ("OGG", "VORBIS", "ogg"),
    ("OGG", "OPUS", "opus"),
    ("MP3", "MPEG_LAYER_III", "mp3"),
]


@pytest.mark.parametrize("declared", PLACEHOLDERS)
@pytest.mark.parametrize("riff", [0, 36, None, 0xFFFFFFFF])
def test_a_size_from_before_the_end_is_a_note_and_the_file_is_read_to_its_end(tmp_path, declared, riff):
    path = tmp_path / "lost_power.wav"
    path.write_bytes(wav_bytes(PCM, declared=declared, riff=riff))
    with AudioReader(path, RATE) as reader:
        (note,) = reader.notes
        assert note.startswith(f"its header declares {declared:,} bytes of samples, a size from before the end")
        assert np.array_equal(reader.whole(), PCM / np.float32(32768))


@pytest.mark.parametrize("declared", [128_002, 1_234_566, 999_999_998, 1_234_567_890])
def test_a_plausible_size_that_is_not_there_is_a_truncation(tmp_path, declared):
    path = tmp_path / "cut.wav"
    path.write_bytes(wav_bytes(PCM, declared=declared))
    with pytest.raises(RuntimeFailure, match=f"truncated audio file; expected {declared:,} bytes of samples"):
        AudioReader(path, RATE)


def test_an_empty_data_chunk_before_another_chunk_has_no_samples(tmp_path):
    path = tmp_path / "empty.wav"
    path.write_bytes(wav_bytes(np.zeros(0, np.int16)) + chunk(b"LIST", b"INFOISFT\x06\0\0\0tests\0"))
    with pytest.raises(RuntimeFailure, match="audio file without samples"):
        AudioReader(path, RATE)


def test_chunks_around_the_samples_are_no_samples(tmp_path):
    path = tmp_path / "chunks.wav"
    path.write_bytes(wav_bytes(PCM, chunks=[chunk(b"LIST", b"odd")]) + chunk(b"id3 ", b"after"))
    with AudioReader(path, RATE) as reader:
        assert (reader.notes, len(reader.whole())) == ((), len(PCM))


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        ([chunk(b"LIST", b"INFO of thirt", padded=False)], "'LIST' at byte 36 has the odd size 13 and no byte"),
        ([b"LIST\xff\xff\xff\x7f"], "'LIST' at byte 36 has the size 2,147,483,647, which is longer"),
    ],
)
def test_a_message_names_the_chunk_that_hides_the_samples(tmp_path, chunks, problem):
    path = tmp_path / "chunks.wav"
    path.write_bytes(wav_bytes(PCM, chunks=chunks))
    with pytest.raises(RuntimeFailure) as refusal:
        read_audio(path, RATE)
    assert f"not a readable audio file; expected WAV, FLAC, {', '.join(DECODED[2:-1])}" in str(refusal.value)
    assert problem in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "words", "least"), [(b"cue ", 1, 28), (b"cue ", 7, 0), (b"acid", 1, 24), (b"acid", 6, 0)]
)
def test_chunks_shorter_than_their_content_are_refused(tmp_path, name, words, least):
    """libsndfile reads the rest of them from the samples, which began later then."""
    path = tmp_path / "short.wav"
    path.write_bytes(wav_bytes(PCM, chunks=[chunk(name, b"\1\0\0\0" * words)]))
    if not least:
        assert np.array_equal(read_audio(path, RATE) * 32768, PCM)
        return
    problem = f"'{name.decode()}' at byte 36 has the size 4, and content of {least} bytes"
    with pytest.raises(RuntimeFailure, match=problem):
        read_audio(path, RATE)


def test_a_list_of_chunks_without_an_end_is_left(tmp_path):
    endless = b"RIFF\xff\xff\xff\xffWAVE" + chunk(b"junk", b"") * 100_000
    reads = []

    def read_at(at, size):
        reads.append(at)
        return endless[at : at + size]

    assert wav_header(read_at, len(endless)).data_at == 0
    assert len(reads) < 1100


@pytest.mark.parametrize(("form", "subtype", "suffix"), FORMATS)
def test_every_container_is_read_under_any_name(tmp_path, form, subtype, suffix):
    audio = 0.3 * np.sin(np.arange(2 * 16_000) * 0.3)
    soundfile.write(tmp_path / "x.bin", audio, 16_000, format=form, subtype=subtype)
    assert container((tmp_path / "x.bin").read_bytes()[:HEAD_BYTES]) == {"WAVEX": "WAV"}.get(form, form)
    got = read_audio(tmp_path / "x.bin", 16_000)
    assert len(got) == pytest.approx(len(audio), abs=0 if suffix not in ("mp3", "opus") else 2400)
    assert np.abs(got[4000:20_000]).max() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("form", "subtype", "suffix"), FORMATS)
def test_two_thirds_of_a_file_are_refused(tmp_path, form, subtype, suffix):
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, noise(2, 4 * RATE) * 0.3, 16_000 if suffix == "mp3" else 48_000, format=form, subtype=subtype)
    data = path.read_bytes()
    path.write_bytes(data[: 2 * len(data) // 3])
    with pytest.raises(RuntimeFailure, match=r"truncated|not a readable audio file"):
        read_audio(path, RATE)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x20ftypM4A ", "MPEG-4 format"),
        (b"\x1a\x45\xdf\xa3" + bytes(20), "Matroska or WebM format"),
        (b"#!AMR\n", "AMR format"),
        (b"PK\x03\x04" + bytes(20), "ZIP format"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip format"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI format"),
        (b"NIST_1A\n   1024\n", "NIST SPHERE format"),
        (b"MATLAB 5.0 MAT-file", "MATLAB format"),
    ],
)
def test_other_files_are_refused_by_name_before_any_decoder_sees_them(tmp_path, head, name, monkeypatch):
    monkeypatch.setattr(soundfile, "SoundFile", lambda *_, **__: pytest.fail("given to the decoder"))
    (tmp_path / "x.wav").write_bytes(head + bytes(4000))
    with pytest.raises(RuntimeFailure, match=f"got 4,0.. bytes, {name}; next: convert it"):
        AudioReader(tmp_path / "x.wav", RATE)


def test_raw_samples_are_rarely_taken_for_a_container():
    rng = np.random.default_rng(0)
    heads = rng.integers(0, 256, (20_000, 64), dtype=np.uint8)
    heads[::2, 0], heads[::2, 1] = 0xFF, rng.integers(0xE0, 256, 10_000)  # as MPEG audio begins
    assert not any(container(head.tobytes()) for head in heads)


def test_entries_that_are_no_files_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
        for name, complaint in [
            ("fifo.wav", "not a file"),
            ("folder.wav", "not a file"),
            ("socket.wav", "not a file"),
            ("loop.wav", "symbolic links lead to one another"),
        ]:
            with pytest.raises(RuntimeFailure, match=f"{name}: {complaint}"):
                read_audio(tmp_path / name, RATE)
    with pytest.raises(RuntimeFailure, match="zero: not a file"):
        read_audio(Path("/dev/zero"), RATE)
    with pytest.raises(RuntimeFailure, match=r"cannot be opened; got .*null"):
        read_audio(Path("a\0b.wav"), RATE)


def test_a_name_that_is_not_utf_8_is_read(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(wav_bytes(PCM))
    assert len(read_audio(path, RATE)) == len(PCM)


@pytest.mark.parametrize("rate_hz", [RATE, 44_100])
@pytest.mark.parametrize("gain", [-1.0, -0.995])
def test_cancelling_channels_become_silence_with_a_note(tmp_path, rate_hz, gain):
    left = noise(3, 3 * rate_hz)
    right = np.where(np.arange(len(left)) < 2 * rate_hz, gain, 0.5) * left
    path = tmp_path / "antiphase.wav"
    path.write_bytes(wav_bytes(np.stack([left, right], axis=1).astype(np.float32), rate_hz))
    with AudioReader(path, RATE) as reader:
        seconds = [np.abs(block[2000:-2000]).max() for block in reader.blocks(RATE)]
        assert reader.findings == ("channels cancel in 2.0 of 3.0 s, which count as silence: is one of them inverted?",)
    assert seconds[:2] == [0, 0]
    assert seconds[2] > 0.001


@pytest.mark.parametrize(
    ("samples", "finding"),
    [
        (PCM.astype(np.float32), "samples up to 3"),
        (np.full(RATE, 0.25, np.float32), "all samples are about 0.250: a constant, no sound"),
        (np.clip(8 * PCM.astype(np.float64), -32768, 32767).astype(np.int16), "% of the samples are at full scale"),
        (np.zeros(RATE, np.float32), ""),
        (PCM, ""),
        (np.stack([PCM, PCM[::-1]], axis=1), ""),
        ((PCM / 16_000).astype(np.float32), ""),
    ],
)
def test_doubtful_samples_are_a_finding(tmp_path, samples, finding):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(samples))
    with AudioReader(path, RATE) as reader:
        reader.whole()
        assert finding in "; ".join(reader.findings)
        assert len(reader.findings) == bool(finding)


def test_a_file_too_long_for_memory_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "days.flac"
    soundfile.write(path, PCM, RATE)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the upper bits of the declared number of samples
    path.write_bytes(bytes(data))
    with pytest.raises(RuntimeFailure, match=r"too long to be read into memory; expected at most 2\.3 h"):
        read_audio(path, RATE)


def _originals(folder):
    audio = noise(5, 3000)
    for form, subtype, suffix in (FORMATS[0], FORMATS[2], FORMATS[4], FORMATS[7], FORMATS[8]):
        path = folder / f"small.{suffix}"
        soundfile.write(path, audio, 16_000, format=form, subtype=subtype)
        yield path.read_bytes()


def test_mutated_headers_end_in_a_refusal_or_in_bounded_audio(tmp_path):
    """Seeded mutants of five small files: bytes, fields and lengths changed in the first 100 bytes."""
    rng, path, read, refused = np.random.default_rng(14), tmp_path / "mutant.bin", 0, 0
    originals = list(_originals(tmp_path))
    tracemalloc.start()
    for number in range(300):
        data = bytearray(originals[number % len(originals)])
        for at in rng.integers(0, min(100, len(data) - 4), rng.integers(1, 4)):
            kind = rng.integers(3)
            if kind == 0:
                data[at] = rng.integers(256)
            elif kind == 1:
                data[at : at + 4] = int(rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])).to_bytes(4, "little")
            else:
                del data[at : at + rng.integers(1, 4)]
        path.write_bytes(bytes(data))
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            with AudioReader(path, RATE) as reader:
                for count, block in enumerate(reader.blocks(8000)):
                    assert np.isfinite(block).all()
                    assert np.abs(block).max() <= 2 * MAX_PEAK
                    if count > 50:
                        break
            read += 1
        except RuntimeFailure:
            refused += 1
        assert tracemalloc.get_traced_memory()[1] - before < 32_000_000
    tracemalloc.stop()
    assert min(read, refused) > 20


CASES = {
    "antiphase.wav": "channels cancel",
    "data_0_streamed.wav": "a size from before the end",
    "data_2000000000.wav": "a size from before the end",
    "list_odd_unpadded.wav": "the chunk 'LIST' at byte 36 has the odd size",
    "rate1.wav": "expected 1,000 to 768,000 Hz; got 1",
    "s999.wav": "",
}


@pytest.mark.parametrize("name", CASES)
def test_the_shared_cases(shared_data, bundle, name, capsys):
    from tinyscene import command_line

    path = shared_data.parent / "cases" / "audio" / name
    if not path.is_file():
        pytest.skip("shared cases are missing")
    refused = name in ("list_odd_unpadded.wav", "rate1.wav")
    assert command_line.main(["run", str(bundle.path), str(path)]) == (2 if refused else 0)
    printed = capsys.readouterr()
    assert CASES[name] in printed.err
    assert ("silent, no scene" in printed.out) == (name == "antiphase.wav")
