"""Write one clip as a WAV file.

libsndfile encodes into memory and Python writes the bytes: libsndfile's own report of a full disk is a short write
without a reason.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import soundfile

from tinyscene.runtime.arrays import F32


def write_wav(path: Path, samples: F32, rate_hz: int, encoding: Literal["PCM_16", "PCM_24"]) -> None:
    """Write mono float32 (n,) in [-1, 1] as integers; raises OSError."""
    content = io.BytesIO()
    soundfile.write(content, samples, rate_hz, subtype=encoding, format="WAV")
    path.write_bytes(content.getbuffer())
