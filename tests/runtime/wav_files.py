"""WAV files byte by byte: any header around any samples, as recorders and damaged disks leave them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np


def wav_bytes(
    samples: np.ndarray,
    rate_hz: int = 32_000,
    *,
    declared: int | None = None,
    riff: int | None = None,
    chunks: Sequence[bytes] = (),
) -> bytes:
    """A WAV file of int16 or float32 samples (n,) or (n, channels).

    Args:
        declared: size of the samples in the header; the true one if not given.
        riff: size of the file in the header; that of the declared samples if not given.
        chunks: whole chunks before the samples.
    """
    frames = samples[:, None] if samples.ndim == 1 else samples
    code, bits = (1, 16) if samples.dtype.kind == "i" else (3, 32)
    frame_bytes = frames.shape[1] * bits // 8
    form = struct.pack("<HHIIHH", code, frames.shape[1], rate_hz, rate_hz * frame_bytes % 2**32, frame_bytes, bits)
    data = frames.astype("<i2" if code == 1 else "<f4").tobytes()
    size = len(data) if declared is None else declared
    before = b"WAVE" + chunk(b"fmt ", form) + b"".join(chunks) + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(len(before) + size, 0xFFFFFFFF) if riff is None else riff) + before + data


def chunk(name: bytes, content: bytes, *, padded: bool = True) -> bytes:
    """One chunk with its header."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (padded and len(content) % 2)
