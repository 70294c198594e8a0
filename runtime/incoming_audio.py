"""Audio through a pipe such as standard input: raw samples, or a file with a header.

A WAV file of 16-bit integers or 32-bit floats is read as it arrives, so that a recorder may write without an end. Other
containers that are decoded are stored in a temporary file first, at most ``MAX_STORED_BYTES``.
Refuses containers that are not decoded, instead of taking them for samples, and samples beyond the declared size.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, Protocol, get_args

import numpy as np

from .arrays import F32
from .audio import AudioReader, Samples
from .audio_file import not_decodable
from .containers import DECODED, HEAD_BYTES, container
from .errors import RuntimeFailure
from .limits import SILENT_PEAK, beyond_limits, checked_channels, checked_rate
from .sound_levels import cancels
from .wav_header import is_placeholder, wav_header

Encoding = Literal["s16", "f32"]

PIECE_S = 0.05
MAX_STORED_BYTES = 256 * 2**20
STANDARD_INPUT = Path("-")
RAW_SAMPLES = "raw samples"
_DTYPES = {"s16": "<i2", "f32": "<f4"}
_WAV_ENCODINGS = {(1, 16): "s16", (3, 32): "f32"}  # by format code and bits per sample
_EXTENSIBLE = 0xFFFE  # the format code is then the first field of the GUID at byte 24 of the format chunk


class BinaryStream(Protocol):
    """What pipes are read through."""

    def read(self, size: int, /) -> bytes | None:
        """At most ``size`` bytes, none at the end."""


class AudioPieces(Protocol):
    """Audio that arrives in pieces at ``rate_hz``."""

    rate_hz: int

    @property
    def notes(self) -> tuple[str, ...]:
        """Conversions, and what was found so far."""

    def pieces(self, seconds: float | None = None) -> Iterator[Samples]:
        """Pieces (n,) or (n, channels), until the audio ends or ``seconds`` are read."""


class RawPcm:
    """Little-endian samples, channels interleaved, from a binary stream such as standard input.

    Args:
        encoding: ``s16`` (16-bit integers) or ``f32`` (floats in [-1, 1]).
        declared_bytes: size of the samples, where a header has one: nothing is read beyond, and less is refused.
        name: of the audio, in messages.

    Raises:
        RuntimeFailure: unknown encoding, or channels or a rate outside the limits.
    """

    def __init__(
        self,
        stream: BinaryStream,
        rate_hz: int,
        channels: int = 1,
        encoding: str = "s16",
        declared_bytes: int | None = None,
        name: str = RAW_SAMPLES,
    ) -> None:
        if encoding not in _DTYPES:
            expected = " or ".join(get_args(Encoding))
            raise RuntimeFailure(f"{name}, encoding", "invalid value", expected=expected, got=encoding)
        self.rate_hz = checked_rate(f"{name}, rate", rate_hz)
        self.channels = checked_channels(f"{name}, channels", channels)
        self._stream, self._dtype, self._declared = stream, np.dtype(_DTYPES[encoding]), declared_bytes
        self._name, self._dropped = name, 0
        self._cancelled = self._frames = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Bytes that were dropped, and cancelling channels."""
        notes = []
        if self._dropped:
            notes.append(f"{self._dropped} bytes at the end are not a whole sample and were dropped")
        if self._cancelled:
            seconds, total = self._cancelled / self.rate_hz, self._frames / self.rate_hz
            notes.append(f"channels cancel in {seconds:.1f} of {total:.1f} s: is one of them inverted?")
        return tuple(notes)

    def pieces(self, seconds: float | None = None) -> Iterator[Samples]:
        """Pieces (n, channels) as they arrive, until the stream ends or ``seconds`` are read.

        Raises RuntimeFailure where the stream ends before the declared size.
        """
        frame_bytes = self.channels * self._dtype.itemsize
        piece_bytes = frame_bytes * max(1, round(PIECE_S * self.rate_hz))
        limits = [] if self._declared is None else [self._declared]
        limits += [] if seconds is None else [frame_bytes * round(seconds * self.rate_hz)]
        left, done, pending = min(limits, default=None), 0, b""
        while left is None or left > 0:
            read = self._stream.read(piece_bytes if left is None else min(piece_bytes, left))
            if not read:
                self._refuse_truncated(done)
                break
            done, pending = done + len(read), pending + read
            left = None if left is None else left - len(read)
            whole = len(pending) - len(pending) % frame_bytes
            if whole:
                frames = np.frombuffer(pending[:whole], self._dtype).reshape(-1, self.channels)
                self._refuse_absurd(frames)
                self._note_cancelling(frames)
                yield frames
                pending = pending[whole:]
        self._dropped = len(pending)

    def _refuse_absurd(self, frames: Samples) -> None:
        absurd = beyond_limits(frames).any(axis=1)
        if absurd.any():
            at = self._frames + int(np.argmax(absurd))
            raise RuntimeFailure(
                self._name,
                f"sample {at:,} ({at / self.rate_hz:.3f} s) is not finite or far beyond full scale",
                expected="finite samples in [-1, 1]",
                next_step="check --encoding, --rate and --channels" if self._name == RAW_SAMPLES else "record it again",
            )

    def _note_cancelling(self, frames: Samples) -> None:
        self._frames += len(frames)
        if self.channels > 1:
            scale = np.float32(2**15 if self._dtype.kind == "i" else 1)
            floats: F32 = frames.astype(np.float32) / scale
            if np.abs(floats).max() > SILENT_PEAK and cancels(floats, floats.mean(axis=1, dtype=np.float64)):
                self._cancelled += len(frames)

    def _refuse_truncated(self, done: int) -> None:
        if self._declared is not None and done < self._declared:
            raise RuntimeFailure(
                str(STANDARD_INPUT),
                "truncated audio file",
                expected=f"{self._declared:,} bytes of samples",
                got=f"{done:,} bytes",
                next_step="send the whole file",
            )


class StoredFile:
    """A file that came through a pipe and was stored; mono float32 at the model's rate."""

    def __init__(self, reader: AudioReader) -> None:
        self._reader, self.rate_hz = reader, reader.sample_rate_hz

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the reader."""
        return (*self._reader.notes, *self._reader.findings)

    def pieces(self, seconds: float | None = None) -> Iterator[Samples]:
        """Pieces of a twentieth of a second, until the file ends or ``seconds`` are read."""
        left = None if seconds is None else round(seconds * self.rate_hz)
        with self._reader:
            for block in self._reader.blocks(max(1, round(PIECE_S * self.rate_hz))):
                yield block if left is None else block[:left]
                left = None if left is None else left - len(block)
                if left is not None and left <= 0:
                    return


class Pipe:
    """The beginning of a binary stream, read to find out what it is; ``container`` is None for raw samples."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._head = _read_up_to(stream, HEAD_BYTES)
        self.container = container(self._head)

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes: first what was read already."""
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return self._stream.read(size) or b""

    def decoded(self, sample_rate_hz: int) -> AudioPieces:
        """The audio of a container; at ``sample_rate_hz`` if the file has to be stored.

        Raises:
            RuntimeFailure: a container that is not decoded, too large, or damaged.
        """
        if self.container not in DECODED:
            raise not_decodable(str(STANDARD_INPUT), f"{self.container} format")
        return self._live_wav() or StoredFile(AudioReader(STANDARD_INPUT, sample_rate_hz, self._stored()))

    def _live_wav(self) -> RawPcm | None:
        """The samples of a WAV file whose encoding is that of raw samples, without its header."""
        head = self._head
        header = wav_header(lambda at, size: head[at : at + size], len(head))
        if self.container != "WAV" or head[:4] != b"RIFF" or not header.data_at or len(header.fmt) < 16:
            return None
        code, channels, rate_hz, _, frame_bytes, bits = struct.unpack("<HHIIHH", header.fmt[:16])
        if code == _EXTENSIBLE and len(header.fmt) >= 26:
            code = struct.unpack("<H", header.fmt[24:26])[0]
        encoding = _WAV_ENCODINGS.get((code, bits))
        if encoding is None or frame_bytes * 8 != channels * bits:
            return None
        self._head = head[header.data_at :]
        declared = None if is_placeholder(header.declared) else header.declared
        return RawPcm(self, rate_hz, channels, encoding, declared, str(STANDARD_INPUT))

    def _stored(self) -> int:
        """Descriptor of a temporary file without a name, with everything the pipe has."""
        with tempfile.TemporaryFile() as file:
            size = 0
            while piece := self.read(2**16):
                size += len(piece)
                if size > MAX_STORED_BYTES:
                    raise RuntimeFailure(
                        str(STANDARD_INPUT),
                        f"{self.container} file too large for a pipe",
                        expected=f"at most {MAX_STORED_BYTES // 2**20} MiB",
                        next_step="give the file's path instead of -, or pipe raw samples",
                    )
                file.write(piece)
            file.seek(0)
            return os.dup(file.fileno())


def _read_up_to(stream: IO[bytes], size: int) -> bytes:
    """``size`` bytes, or fewer where the stream ends."""
    head = b""
    while len(head) < size and (piece := stream.read(size - len(head))):
        head += piece
    return head
