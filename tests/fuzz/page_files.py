"""The web page's reader of WAV files, in Node.js, compared with the runtime's on the same content.

What the page's reader accepts must be what the runtime reads: rate, channels, and every int16 sample. It may refuse
more than the runtime, by an Error of its own only. Where libsndfile stumbles over a chunk of other content, the file
without these chunks is compared. Needs Node.js.
"""

from __future__ import annotations

import atexit
import base64
import io
import json
import random
import select
import shutil
import struct
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tinyscene.firmware_harness.ship.web_page import WEB_FOLDER
from tinyscene.runtime.arrays import I16
from tinyscene.runtime.audio import AudioReader, to_int16
from tinyscene.runtime.errors import RuntimeFailure, TinysceneError

from .findings import LARGEST_GROWTH_BYTES
from .mutate import mutate_bytes
from .readers import Reader, written

SCRIPT = Path(__file__).with_name("js") / "read_wav.mjs"
NODE = "node"
LONGEST_S = 20.0  # of wall clock, on a busy machine
MOST_SAMPLES = 20_000  # of a comparison; chunks that overlap would need a larger file
_SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")
_SAMPLES = (0.0, -0.0, 0.5, 1.0, -1.0, 1.5 / 32_768, 2.5 / 32_768, -0.5 / 32_768, 2.0**31, 3e38, float("nan"), 1e300)
_FIELDS = (  # of the format chunk: offset, size, values
    (0, 2, (0, 1, 3, 6, 7, 17, 0xFFFE)), (2, 2, (0, 1, 2, 3, 8, 9, 64, 65, 65_535)),
    (4, 4, (0, 1, 999, 1000, 16_000, 44_100, 768_000, 768_001, 2**31, 2**32 - 1)), (8, 4, (0, 1, 32_000, 2**32 - 1)),
    (12, 2, (0, 1, 2, 3, 4, 8, 65_535)), (14, 2, (0, 1, 4, 8, 12, 16, 20, 24, 32, 64, 65_535)), (24, 2, (1, 3, 6)),
)  # fmt: skip
_NAMES = (
    b"fmt ",
    b"data",
    b"LIST",
    b"fact",
    b"JUNK",
    b"PEAK",
    b"ds64",
    b"\0\0\0\0",
    b"\xff" * 4,
    b"bext",
    b"cue ",
    b"smpl",
    b"inst",
    b"acid",
    b"cart",
    b"exif",
    b"DISP",
    b"PAD ",
    b"strc",
    b"iXML",
    b"id3 ",
    b"afsp",
)
_SIZES = (0, 1, 15, 16, 17, 2**31 - 1, 2**31, 2**32 - 9, 2**32 - 8, 2**32 - 1, 2_000_000_000, 0x7FFFF000)


class _Page:
    """A process of Node.js that reads one content after another."""

    def __init__(self) -> None:
        command = [NODE, "--max-old-space-size=256", str(SCRIPT), str(WEB_FOLDER / "samples.js")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        atexit.register(self._process.kill)
        self._resident = self.read(b"")["resident"]

    def read(self, data: bytes) -> dict[str, Any]:
        """What the reader makes of a content; AssertionError if it ends, hangs, or takes too much memory."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(struct.pack("<I", len(data)) + data)
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([stdout], [], [], LONGEST_S)[0]:
                raise AssertionError(_stopped(self._process, "hangs"))
            part = stdout.read(65_536)
            if not part:
                raise AssertionError(_stopped(self._process, "ended"))
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer

    def grown(self, answer: dict[str, Any]) -> int:
        """Bytes by which the process is larger than at its start."""
        return int(answer["resident"] - self._resident)


def _stopped(process: subprocess.Popen[bytes], how: str) -> str:
    process.kill()
    process.wait()
    _page.cache_clear()
    return f"Node.js {how}"


@lru_cache(maxsize=1)
def _page() -> _Page:
    assert shutil.which(NODE), "Node.js is missing"
    return _Page()


def _seeds() -> Iterable[bytes]:
    _page()  # before the worker limits the address space, of which Node.js reserves much
    samples = np.random.default_rng(0).normal(0.0, 0.4, (60, 64))
    for container in ("WAV", "WAVEX"):
        for subtype in _SUBTYPES:
            for channels in (1, 2):
                yield _wav(samples[:, :channels], subtype, container)
    yield _wav(samples, "PCM_16")
    left = samples[:, :1]
    yield _wav(np.concatenate([left, 0.001 - left], axis=1), "FLOAT")  # channels that cancel
    loud = 30.0 * samples[:, :18]
    loud[:, -1] = 5.0 * left[:, 0] - loud[:, :-1].sum(axis=1)
    yield _wav(loud, "FLOAT")  # the order of the sum decides the last bits


def _wav(samples: np.ndarray, subtype: str, container: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, subtype, format=container)
    return buffer.getvalue()


def _mutate_wav(data: bytes, rng: random.Random) -> bytes:
    """Chunks changed, moved, repeated or renamed, with the sizes that fit them or not; or bytes."""
    chunks = _chunks(data)
    if rng.random() < 0.25 or not chunks:
        return mutate_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change(chunks, rng)
    return _joined(chunks)


def _joined(chunks: list[tuple[bytes, int, bytes]]) -> bytes:
    content = b"".join(name + struct.pack("<I", size) + body for name, size, body in chunks)
    return b"RIFF" + struct.pack("<I", (len(content) + 4) % 2**32) + b"WAVE" + content


def _chunks(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """Name, declared size and content with its padding."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size + size % 2]
        chunks.append((data[at : at + 4], size, body))
        at += 8 + size + size % 2
    return chunks


def _change(chunks: list[tuple[bytes, int, bytes]], rng: random.Random) -> None:
    at = rng.randrange(len(chunks))
    name, size, body = chunks[at]
    kind = rng.randrange(8)
    if kind == 0:
        chunks[at] = name, rng.choice((*_SIZES, (size + 1) % 2**32, max(0, size - 1))), body
    elif kind == 1:
        chunks[at] = rng.choice(_NAMES), size, body
    elif kind == 2:
        chunks.insert(rng.randrange(len(chunks) + 1), chunks[at])
    elif kind == 3:
        content = rng.randbytes(rng.randrange(30))
        padding = bytes(rng.randrange(2) and len(content) % 2)
        chunks.insert(at, (rng.choice(_NAMES), len(content), content + padding))
    elif kind == 4 and len(chunks) > 1:
        del chunks[at]
    elif name == b"fmt ":
        offset, width, values = rng.choice(_FIELDS)
        field = rng.choice(values).to_bytes(width, "little")
        chunks[at] = name, size, body[:offset] + field + body[offset + width :]
    else:
        sample = struct.pack(rng.choice(("<f", "<d")), min(rng.choice(_SAMPLES), 3e38))
        offset = rng.randrange(len(body) + 1) // len(sample) * len(sample)
        chunks[at] = name, size, body[:offset] + sample + body[offset + len(sample) :]


def _read_page(data: bytes) -> None:
    page = _page()
    answer = page.read(data)
    assert page.grown(answer) < LARGEST_GROWTH_BYTES, f"memory of Node.js grew by {page.grown(answer):,} B"
    assert "escaped" not in answer, answer["escaped"]
    if "refused" in answer:
        raise RuntimeFailure("page", "refused", got=answer["refused"])
    got = np.frombuffer(base64.b64decode(answer["samples"]), "<i2")
    assert len(got) <= MOST_SAMPLES, f"{len(got):,} samples of {len(data):,} B"
    try:
        rate_hz, channels, expected = _of_runtime(data)
    except TinysceneError:
        try:
            rate_hz, channels, expected = _of_runtime(_bare(data))
        except TinysceneError as refusal:
            raise AssertionError(f"the page reads what the runtime refuses: {refusal}") from None
    assert (answer["rate"], answer["channels"]) == (rate_hz, channels), "another format"
    assert len(got) == len(expected), "another number of samples"
    assert np.array_equal(got, expected), "other samples"


def _of_runtime(data: bytes) -> tuple[int, int, I16]:
    with AudioReader(written("page.wav", data)) as reader:
        return reader.info.sample_rate_hz, reader.info.channels, to_int16(reader.whole())


def _bare(data: bytes) -> bytes:
    """The file with the format and the samples that the page reads only."""
    chunks = _chunks(data)
    return _joined([next(chunk for chunk in chunks if chunk[0] == name) for name in (b"fmt ", b"data")])


PAGE_WAV = Reader(_read_page, _seeds, _mutate_wav, 4096)
