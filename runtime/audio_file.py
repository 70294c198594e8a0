"""An audio file opened for reading, with what its header declares: the border to libsndfile, which is native code.

libsndfile sees regular files only, whose first bytes are those of a container in ``DECODED``, and whatever it raises
becomes RuntimeFailure. The file is opened once and without waiting, so that neither a FIFO nor a name that changes its
file meanwhile has an effect, and by its descriptor, so that any name works.
Refuses other files, files that are shorter than their header declares, and chunks that libsndfile does not find.
"""

from __future__ import annotations

import io
import os
import re
import stat
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from .arrays import F32
from .bounded_files import FOLDER, READ_ONLY, file_kind
from .containers import DECODED, HEAD_BYTES, container
from .errors import RuntimeFailure
from .native_messages import native_messages_dropped
from .system_errors import system_error
from .wav_header import WavHeader, is_placeholder, wav_header

AGAIN = "copy or record it again"  # the next step for a damaged file
_OF_THE_DECODER = ("SF_INFO", "nternal", "File does not exist")  # libsndfile's reasons that are not about the file


class OpenedAudio:
    """A file that libsndfile decodes: ``sample_rate_hz``, ``channels``, ``frames``, ``encoding``, ``notes``."""

    def __init__(self, path: Path, descriptor: int, sound: Any, notes: tuple[str, ...]) -> None:
        self.path, self.notes = path, notes
        self._descriptor, self._sound = descriptor, sound
        self.sample_rate_hz, self.channels, self.frames = int(sound.samplerate), int(sound.channels), int(sound.frames)
        self.encoding = f"{sound.format} {sound.subtype}"

    def read(self, frames: int, done: int) -> F32:
        """The next float32 (n, channels), 1 to ``frames`` of them; ``done``: frames that were read before.

        Raises:
            RuntimeFailure: the file ends before its declared length, or cannot be decoded.
        """
        buffer = np.zeros((min(frames, self.frames - done), self.channels), np.float32)
        try:
            with native_messages_dropped():
                piece: F32 = self._sound.read(out=buffer)
        except Exception as problem:  # whatever native code and its wrapper raise
            raise self._truncated(done) from problem
        if len(piece) == 0:
            raise self._truncated(done)
        return piece

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._sound.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _truncated(self, done: int) -> RuntimeFailure:
        return RuntimeFailure(
            str(self.path),
            "truncated or damaged audio file",
            expected=f"{self.frames:,} samples",
            got=f"{done:,} readable samples",
            next_step=AGAIN,
        )


def open_audio(path: Path, descriptor: int | None = None) -> OpenedAudio:
    """Open an audio file, or the regular file of a descriptor, which is closed with the result or the failure.

    Raises:
        RuntimeFailure: the reason why the file cannot be read.
    """
    opened = _opened(path) if descriptor is None else descriptor
    try:
        return _decoded(path, opened)
    except BaseException:
        os.close(opened)
        raise


def read_at(descriptor: int, at: int, size: int) -> bytes:
    """Bytes of a file from an offset; fewer at its end."""
    return os.pread(descriptor, size, at)


def _opened(path: Path) -> int:
    try:
        return os.open(path, READ_ONLY)
    except FileNotFoundError as problem:
        raise RuntimeFailure(
            str(path), "no such file", expected="an audio file", next_step="check the path"
        ) from problem
    except OSError as problem:
        raise (_not_a_file(path, "a socket") if path.is_socket() else system_error(str(path), problem)) from problem
    except ValueError as problem:  # a null character in the name
        raise RuntimeFailure(str(path), "cannot be opened", got=problem, next_step="check the path") from problem


def _not_a_file(path: Path, kind: str) -> RuntimeFailure:
    step = "give the files in it" if kind == FOLDER else "give the file itself"
    return RuntimeFailure(str(path), "not a file", expected="an audio file", got=kind, next_step=step)


def _decoded(path: Path, descriptor: int) -> OpenedAudio:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_file(path, file_kind(status.st_mode))
    if status.st_size == 0:
        raise RuntimeFailure(str(path), "empty file", expected="audio", got="0 bytes", next_step="record it again")
    name = container(_read_head(path, descriptor))
    if name not in DECODED:
        what = f"{name} format" if name else "format not recognised"
        raise not_decodable(str(path), f"{status.st_size:,} bytes, {what}")
    header = wav_header(partial(read_at, descriptor), status.st_size) if name in ("WAV", "RF64") else None
    if header is not None:
        _refuse_truncated(path, header)
        if header.data_at and header.problem:
            raise not_decodable(str(path), f"{status.st_size:,} bytes, {header.problem}", AGAIN)
    sound = _sound(path, descriptor, header)
    declared, actual = _shorter(str(sound.extra_info)) if header is None else ("", "")
    if declared:
        sound.close()
        raise _truncated(path, declared, actual)
    return OpenedAudio(path, descriptor, sound, _size_notes(header))


def _read_head(path: Path, descriptor: int) -> bytes:
    try:
        return read_at(descriptor, 0, HEAD_BYTES)
    except OSError as problem:
        raise system_error(str(path), problem) from problem


def not_decodable(where: str, got: str, next_step: str = "convert it, for example with ffmpeg") -> RuntimeFailure:
    """The refusal of a format without a decoder, or of a damaged header."""
    return RuntimeFailure(
        where,
        "not a readable audio file",
        expected=f"{', '.join(DECODED[:-1])} or {DECODED[-1]}",
        got=got,
        next_step=next_step,
    )


def _sound(path: Path, descriptor: int, header: WavHeader | None) -> Any:
    """libsndfile's view of the file, with the true size in place of a size of zero."""
    source: Any = descriptor
    if header is not None and header.is_placeholder and header.declared == 0:
        source = _Patched(descriptor, header.with_true_size())
    try:
        with native_messages_dropped():
            return soundfile.SoundFile(source, closefd=False)
    except Exception as problem:  # whatever native code and its wrapper raise
        got = f"{os.fstat(descriptor).st_size:,} bytes, "
        if header is not None and header.problem:
            raise not_decodable(str(path), got + header.problem) from problem
        reason = str(problem).rpartition(": ")[2].rstrip(".")
        got += f"{header.described}: " if header is not None else ""
        if any(words in reason for words in _OF_THE_DECODER):
            raise not_decodable(str(path), f"{got}the header is damaged or incomplete", AGAIN) from problem
        raise not_decodable(str(path), got + reason) from problem


class _Patched(io.RawIOBase):
    """A file with other bytes at some offsets."""

    def __init__(self, descriptor: int, patches: dict[int, bytes]) -> None:
        self._descriptor, self._patches, self._at = descriptor, patches, 0

    def readinto(self, buffer: Any) -> int:
        data = bytearray(read_at(self._descriptor, self._at, len(buffer)))
        for at, patch in self._patches.items():
            for i, byte in enumerate(patch, at - self._at):
                if 0 <= i < len(data):
                    data[i] = byte
        memoryview(buffer).cast("B")[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at


def _size_notes(header: WavHeader | None) -> tuple[str, ...]:
    if header is None or not header.is_placeholder:
        return ()
    return (
        f"its header declares {header.declared:,} bytes of samples, a size from before the end of the recording; "
        f"all {header.available:,} are read",
    )


def _refuse_truncated(path: Path, header: WavHeader) -> None:
    if header.is_truncated:
        raise _truncated(path, f"{header.declared:,} bytes of samples", f"{header.available:,} bytes")


def _truncated(path: Path, expected: str, got: str) -> RuntimeFailure:
    return RuntimeFailure(str(path), "truncated audio file", expected=expected, got=got, next_step=AGAIN)


def _shorter(log: str) -> tuple[str, str]:
    """Truncation in libsndfile's log: what the header of AIFF, AU, CAF, W64 or OGG expects, and what there is."""
    size = re.search(r"^ *(?:SSND|Data Size|riff|data)\s*: (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if size and int(size[2]) < int(size[1]) and not is_placeholder(int(size[1])):
        return f"{int(size[1]):,} bytes", f"{int(size[2]):,} bytes"
    if "lacks an end-of-stream" in log or "Junk after the last page" in log:
        return "a complete last page", "none"
    return "", ""
