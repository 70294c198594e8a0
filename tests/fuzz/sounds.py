"""Readers of audio: files, a pipe with raw samples or a file, and the entries of a watched folder.

The content of PCM is 4 bytes (rate, channels, encoding) and then the stream; that of NAMES is entries between slashes,
each a byte for its kind and then its name.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import soundfile

from tinyscene.runtime.audio import AudioReader
from tinyscene.runtime.bundle import read_bundle
from tinyscene.runtime.classify import Classification, SceneClassifier
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.incoming_audio import AudioPieces, Pipe, RawPcm
from tinyscene.runtime.run_output import clip_record, quiet_line
from tinyscene.runtime.watched_folder import arriving_files

from .bundles import MANIFEST
from .readers import Reader, scratch, written

_RATE_HZ = 16_000
_RATES_HZ = (0, 1, 2, 1000, 8000, 16_000, 22_050, 44_100, 48_000, 192_000, 768_000, 768_001, 2**20, 2**31 - 1, 2**31)
_LARGEST_S = 400.0  # of audio; longer files are read up to here


@lru_cache(maxsize=1)
def _classifier() -> SceneClassifier:
    """The classifier of the seed bundle: clips of 128 samples at 16 kHz."""
    list(MANIFEST.seeds())
    return SceneClassifier.open(read_bundle(scratch() / "seed"), "numpy-double")


def _audio_seeds() -> Iterable[bytes]:
    samples = np.random.default_rng(0).normal(0.0, 0.2, (200, 2))
    wav = ("PCM_16", "PCM_24", "FLOAT", "DOUBLE", "PCM_U8", "ULAW", "IMA_ADPCM", "GSM610")
    kinds = [("WAV", subtype) for subtype in wav]
    kinds += [(container, "PCM_16") for container in ("WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC")]
    kinds += [("CAF", "ALAC_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
    for container, subtype in kinds:
        for channels, rate_hz in ((1, 16_000), (2, 48_000)):
            buffer = io.BytesIO()
            try:
                soundfile.write(buffer, samples[:, :channels], rate_hz, subtype, format=container)
            except (soundfile.SoundFileError, ValueError):  # not every build writes every kind
                continue
            yield buffer.getvalue()


def _read_audio(data: bytes) -> None:
    with AudioReader(written("clip.wav", data), _RATE_HZ) as reader:
        seconds = 0.0
        for block in reader.blocks(_RATE_HZ):
            assert block.dtype == np.float32, block.dtype
            assert np.isfinite(block).all(), "a block is not finite"
            assert len(block) <= _RATE_HZ, len(block)
            seconds += len(block) / _RATE_HZ
            if seconds > _LARGEST_S:
                break


def _pcm_seeds() -> Iterable[bytes]:
    noise = np.random.default_rng(0).normal(0.0, 0.2, 400)
    yield bytes((5, 0, 1, 0)) + (noise * 32_767).astype("<i2").tobytes()
    yield bytes((7, 0, 2, 1)) + noise.astype("<f4").tobytes()
    for data in _audio_seeds():
        yield bytes((5, 0, 1, 0)) + data[:700]


def _read_pcm(data: bytes) -> None:
    rate, high, channels, encoding = (*data[:4], 0, 0, 0, 0)[:4]
    rate_hz = _RATES_HZ[rate % len(_RATES_HZ)]
    classifier, pipe = _classifier(), Pipe(io.BytesIO(data[4:]))
    source: AudioPieces
    if pipe.container:
        source = pipe.decoded(classifier.frontend.sample_rate_hz)
    else:
        source = RawPcm(pipe, rate_hz, channels * (256 * high + 1), ("s16", "f32", "s24")[encoding % 3])
    for event in classifier.stream(source.rate_hz).events(source.pieces(_LARGEST_S)):
        assert np.isfinite(event.scores).all(), "scores are not finite"
    "\n".join(source.notes).encode()


def _names_seeds() -> Iterable[bytes]:
    yield b"\x00a.wav/\x01b.wav/\x02c.wav/\x03d.wav/\x04e.wav"
    yield b"\x00._a.wav/\x05a\tb\n.wav/\x05\xff\xfe.wav/\x06\x1b[31m.wav/\x05a.WAV/\x05-.wav"
    yield b"\x05" + b"x" * 250 + b".wav"


@lru_cache(maxsize=1)
def _whole() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).normal(0.0, 0.2, 300), _RATE_HZ, "PCM_16", format="WAV")
    return buffer.getvalue()


def _make_entry(path: bytes, kind: int) -> None:
    """A file of one kind: whole, empty, a folder, a link to itself, a link to nothing, or unreadable."""
    if kind == 1:
        open(path, "wb").close()
    elif kind == 2:
        os.mkdir(path)
    elif kind == 3:
        os.symlink(os.path.basename(path), path)
    elif kind == 4:
        os.symlink(b"nowhere", path)
    else:
        with open(path, "wb") as file:
            file.write(_whole() if kind != 6 else b"RIFF")


def _read_names(data: bytes) -> None:
    folder = scratch() / "watched"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for entry in data.split(b"/")[:20]:
        name = entry[1:].replace(b"\0", b"")
        if not name or name in (b".", b".."):
            continue
        try:
            _make_entry(os.path.join(os.fsencode(folder), name), entry[0] % 7)
        except OSError:  # a name that is too long, or exists
            continue
    classifier = _classifier()
    for path in arriving_files(folder, seconds=0.002, poll_s=0.0005):
        try:
            with AudioReader(path, _RATE_HZ) as reader:
                whole = Classification.of(classifier.labels, list(classifier.classify_file(reader)))
        except TinysceneError as refusal:
            str(refusal).encode(errors="backslashreplace")
            continue
        line = quiet_line(path, whole)
        assert line.count("\t") == 2, "a name breaks a record"
        assert "\n" not in line, "a name breaks a line"
        line.encode()
        json.dumps(clip_record(classifier.labels, reader.info, reader.notes, whole)).encode()


AUDIO = Reader(_read_audio, _audio_seeds, max_bytes=8192)
PCM = Reader(_read_pcm, _pcm_seeds, max_bytes=8192)
NAMES = Reader(_read_names, _names_seeds, max_bytes=1024)
