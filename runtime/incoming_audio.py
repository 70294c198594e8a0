"""Audio that comes in from other programs: raw samples through a pipe, and files that appear in a folder.

Refuses pipes that carry a file with a header instead of raw samples, and folders that are none.
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
                raise RuntimeFailure(f"raw samples, {what}", "not possible", expected=expected, got=got)
        self._stream, self.rate_hz, self.channels = stream, rate_hz, channels
        self._dtype = np.dtype(_DTYPES[encoding])
        self.notes: tuple[str, ...] = ()

    def pieces(self, seconds: float | None = None) -> Iterator[Samples]:
        """Pieces (n, channels) as soon as they are there, until the stream ends or ``seconds`` are read.

        Raises RuntimeFailure for what begins as a WAV, FLAC or OGG file does.
        """
        frame_bytes = self.channels * self._dtype.itemsize
        wanted = frame_bytes * max(1, round(PIECE_S * self.rate_hz))
        left = None if seconds is None else frame_bytes * round(seconds * self.rate_hz)
        held, first = b"", True
        while left is None or left > 0:
            read = self._stream.read(wanted if left is None else min(wanted, left))
            if not read:
                break
            if first and read[:4] in _HEADERS:
                raise RuntimeFailure(
                    "raw samples",
                    f"this is a {_HEADERS[read[:4]]} file",
                    expected="samples without a header",
                    next_step="give the file's path instead of -",
                )
            first, held = False, held + read
            left = None if left is None else left - len(read)
            whole = len(held) - len(held) % frame_bytes
            if whole:
                yield np.frombuffer(held[:whole], self._dtype).reshape(-1, self.channels)
                held = held[whole:]
        if held:
            self.notes = (f"{len(held)} bytes at the end are no whole sample and were left out",)


def arriving_files(folder: Path, seconds: float | None = None, poll_s: float = POLL_S) -> Iterator[Path]:
    """Each audio file of a folder once: those that are there, by name, then those that come.

    A file counts as there when its size and time of change stood still from one look to the next, ``poll_s`` apart,
    so that one still being written is waited for. Without an end, unless ``seconds`` says how long to watch.

    Raises RuntimeFailure when the folder is none, also later.
    """
    done: set[Path] = set()
    seen: dict[Path, tuple[int, int]] = {}
    began = time.monotonic()
    while True:
        now = _audio_files(folder)
        for path in sorted(now):
            if path not in done and seen.get(path) == now[path] and now[path][0] > 0:
                done.add(path)
                yield path
        done &= now.keys()  # a name that went away may come back as another recording
        seen = now
        if seconds is not None and time.monotonic() - began >= seconds:
            return
        time.sleep(poll_s)


def _audio_files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size in bytes and time of change of every audio file directly in the folder, but for hidden ones."""
    if not folder.is_dir():
        raise RuntimeFailure(str(folder), "not a folder", expected="a folder to watch", next_step="check the path")
    found = {}
    for path in folder.iterdir():
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."):
            try:
                status = path.stat()
            except FileNotFoundError:  # gone since it was listed
                continue
            found[path] = (status.st_size, status.st_mtime_ns)
    return found
