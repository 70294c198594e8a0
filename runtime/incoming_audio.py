"""Audio from other programs: raw samples through a pipe, and new files in a folder.

Refuses pipes with a file that has a header instead of raw samples, and paths that are not folders.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np

from .audio import AUDIO_SUFFIXES, Samples
from .errors import RuntimeFailure

Encoding = Literal["s16", "f32"]

PIECE_S = 0.05
POLL_S = 0.5
_DTYPES = {"s16": "<i2", "f32": "<f4"}
_HEADERS = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG"}


class RawPcm:
    """Little-endian samples, channels interleaved, from a binary stream such as standard input.

    Args:
        encoding: ``s16`` (16-bit integers) or ``f32`` (floats in [-1, 1]).

    Raises:
        RuntimeFailure: unknown encoding, or no channels or rate.
    """

    def __init__(self, stream: IO[bytes], rate_hz: int, channels: int = 1, encoding: str = "s16") -> None:
        for what, fits, expected, got in (
            ("encoding", encoding in _DTYPES, " or ".join(get_args(Encoding)), encoding),
            ("channels", channels >= 1, "1 or more", channels),
            ("rate", rate_hz >= 1, "hertz, 1 or more", rate_hz),
        ):
            if not fits:
                raise RuntimeFailure(f"raw samples, {what}", "invalid value", expected=expected, got=got)
        self._stream, self.rate_hz, self.channels = stream, rate_hz, channels
        self._dtype = np.dtype(_DTYPES[encoding])
        self.notes: tuple[str, ...] = ()

    def pieces(self, seconds: float | None = None) -> Iterator[Samples]:
        """Pieces (n, channels) as they arrive, until the stream ends or ``seconds`` are read.

        Raises RuntimeFailure for a stream that starts with a WAV, FLAC or OGG header.
        """
        frame_bytes = self.channels * self._dtype.itemsize
        piece_bytes = frame_bytes * max(1, round(PIECE_S * self.rate_hz))
        left = None if seconds is None else frame_bytes * round(seconds * self.rate_hz)
        pending, first = b"", True
        while left is None or left > 0:
            read = self._stream.read(piece_bytes if left is None else min(piece_bytes, left))
            if not read:
                break
            if first and read[:4] in _HEADERS:
                raise RuntimeFailure(
                    "raw samples",
                    f"this is a {_HEADERS[read[:4]]} file",
                    expected="samples without a header",
                    next_step="give the file's path instead of -",
                )
            first, pending = False, pending + read
            left = None if left is None else left - len(read)
            whole = len(pending) - len(pending) % frame_bytes
            if whole:
                yield np.frombuffer(pending[:whole], self._dtype).reshape(-1, self.channels)
                pending = pending[whole:]
        if pending:
            self.notes = (f"{len(pending)} bytes at the end are not a whole sample and were dropped",)


def arriving_files(folder: Path, seconds: float | None = None, poll_s: float = POLL_S) -> Iterator[Path]:
    """Each audio file of a folder once: existing files by name, then new ones.

    A file is returned when its size and modification time did not change between two polls, ``poll_s`` apart, so that
    a file that is still being written is not read. Runs for ``seconds``, or without an end.

    Raises RuntimeFailure if the folder does not exist, also later.
    """
    done: set[Path] = set()
    previous: dict[Path, tuple[int, int]] = {}
    start_s = time.monotonic()
    while True:
        current = _audio_files(folder)
        for path in sorted(current):
            if path not in done and previous.get(path) == current[path] and current[path][0] > 0:
                done.add(path)
                yield path
        done &= current.keys()  # a removed name may return as another recording
        previous = current
        if seconds is not None and time.monotonic() - start_s >= seconds:
            return
        time.sleep(poll_s)


def _audio_files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size in bytes and modification time (ns) of every audio file directly in the folder, except hidden ones."""
    if not folder.is_dir():
        raise RuntimeFailure(str(folder), "not a folder", expected="a folder to watch", next_step="check the path")
    states = {}
    for path in folder.iterdir():
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."):
            try:
                status = path.stat()
            except FileNotFoundError:  # removed since it was listed
                continue
            states[path] = (status.st_size, status.st_mtime_ns)
    return states
