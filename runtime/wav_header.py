"""The chunks of a WAV or RF64 file: what its header declares about the samples, compared with the file's length.

A recorder that writes to a pipe, or loses power, leaves a size that it wrote before it knew the length: zero, all ones,
or another large round number. Such a file is read to its end; one that is shorter than a plausible declared size is
truncated. Reads a few bytes per chunk, and at most ``MAX_CHUNKS`` chunks.
A format chunk that is missing or contradicts itself is a ``problem``: whatever the decoder assumed would be a guess. So
is a chunk that is shorter than its content, in whose place libsndfile reads the samples.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

MAX_CHUNKS = 1000
LARGE_BYTES = 1_000_000_000  # from here on a round size is a placeholder
UNKNOWN_BYTES = 0x7FFFF000  # from here on every size is one: no header before the end of the recording has it by chance

_PCM, _EXTENSIBLE = 1, 0xFFFE  # format codes
_LEAST_BYTES = {b"acid": 24, b"cue ": 4}  # which libsndfile reads whatever the chunk's size is
_CUE_POINT_BYTES = 24

ReadAt = Callable[[int, int], bytes]  # offset and number of bytes; fewer at the end


@dataclass(frozen=True)
class WavHeader:
    """The header of a WAV file, in bytes.

    Attributes:
        data_at: offset of the first sample; 0 if there is no data chunk.
        declared: size of the samples in the header.
        available: size of what follows the header.
        fmt: the format chunk's content.
        problem: what is wrong with the chunks; empty if nothing is.
        described: the format chunk in words; empty if there is none.
        size_fields: offset, width and byte order of the fields that hold the size of the samples and of the file.
    """

    data_at: int
    declared: int
    available: int
    fmt: bytes = b""
    problem: str = ""
    described: str = ""
    size_fields: tuple[tuple[int, str, int], ...] = ()

    @property
    def is_placeholder(self) -> bool:
        """Whether the declared size was written before the length was known."""
        too_large = self.declared > self.available
        return self.declared == 0 < self.available or (too_large and is_placeholder(self.declared))

    @property
    def is_truncated(self) -> bool:
        return self.declared > self.available and not self.is_placeholder

    @property
    def is_whole(self) -> bool:
        """Whether the file holds the declared size."""
        return self.data_at > 0 and not self.is_placeholder and not self.is_truncated

    def with_true_size(self) -> dict[int, bytes]:
        """Bytes by offset that make the header declare everything that follows it."""
        return {
            at: struct.pack(form, min(self.available + added, 0xFFFFFFFF if form[1] in "Ii" else 2**62))
            for at, form, added in self.size_fields
        }


def is_placeholder(declared: int) -> bool:
    """Whether a header's size of the samples is one that recorders write before they know the length."""
    if declared >= LARGE_BYTES and (declared % 1_000_000 == 0 or declared % 2**20 == 0):
        return True
    return declared == 0 or UNKNOWN_BYTES <= declared <= 0xFFFFFFFF or declared >= 2**60


def wav_header(read_at: ReadAt, length: int) -> WavHeader:
    """The header of a file of ``length`` bytes that begins with RIFF, RIFX or RF64."""
    magic = read_at(0, 4)
    order = ">" if magic == b"RIFX" else "<"
    fmt, ds64, at, previous, short = b"", 0, 12, ("", 0, 0), ""
    for _ in range(MAX_CHUNKS):
        chunk = read_at(at, 8)
        if len(chunk) < 8:
            break
        name, size = chunk[:4], struct.unpack(f"{order}I", chunk[4:])[0]
        if name == b"fmt ":
            fmt = read_at(at + 8, min(size, 40))
        elif name == b"ds64" and size >= 28:
            ds64 = at + 8
        elif name in _LEAST_BYTES:
            short = short or _short_chunk(read_at, at, size, order)
        elif name == b"data":
            found = _with_data(read_at, length, at + 8, size, ds64, order, fmt)
            return replace(found, problem=found.problem or short)
        elif not _is_name(name):
            break
        previous = (name.decode("ascii"), at, size)
        at += 8 + size + size % 2
    return WavHeader(0, 0, 0, fmt, _chunk_problem(read_at, length, *previous))


def _with_data(read_at: ReadAt, length: int, data_at: int, size: int, ds64: int, order: str, fmt: bytes) -> WavHeader:
    available = max(0, length - data_at)
    fields: tuple[tuple[int, str, int], ...] = ((data_at - 4, f"{order}I", 0), (4, f"{order}I", data_at - 8))
    if ds64 and read_at(0, 4) == b"RF64":
        size = struct.unpack("<Q", read_at(ds64 + 8, 8))[0]
        fields = ((ds64 + 8, "<Q", 0), (ds64, "<Q", data_at - 8))
    if size == 0 and _chunk_follows(read_at, length, data_at, order):
        available = 0  # an empty data chunk, with other chunks after it
    return WavHeader(data_at, size, available, fmt, *_format(fmt, order), fields)


def _format(fmt: bytes, order: str) -> tuple[str, str]:
    """What is wrong with the format chunk's content, if anything, and the content in words.

    A wrong size of a frame alone is a common mistake of recorders, and harmless. If the bytes per second agree with it,
    the number of bits is what is wrong; only 24 bits in 4 bytes exist, of ALSA's arecord, and are decoded as such.
    """
    if len(fmt) < 16:
        return (f"a format chunk of {len(fmt)} bytes" if fmt else "no format chunk before the samples"), ""
    code, channels, rate_hz, bytes_per_s, frame_bytes, bits = struct.unpack(f"{order}HHIIHH", fmt[:16])
    described = f"format {code} of {bits} bits, {channels} channel{'s' * (channels != 1)}, {rate_hz:,} Hz"
    if code == _EXTENSIBLE and len(fmt) >= 26:
        code = struct.unpack(f"{order}H", fmt[24:26])[0]
    usual = (channels * -(-bits // 8), channels * 4 if 16 < bits <= 24 else 0)
    agree = bytes_per_s == rate_hz * frame_bytes % 2**32
    if code != _PCM or not bits or not channels or frame_bytes in usual or not frame_bytes or not agree:
        return "", described
    frame = f"frames of {frame_bytes} bytes and {bytes_per_s:,} bytes per second"
    return f"a contradiction: samples of {bits} bits, but {frame}", described


def _short_chunk(read_at: ReadAt, at: int, size: int, order: str) -> str:
    name, count = read_at(at, 4), int.from_bytes(read_at(at + 8, 4), "big" if order == ">" else "little")
    least = _LEAST_BYTES[name] + (count * _CUE_POINT_BYTES if name == b"cue " else 0)
    where = f"the chunk '{name.decode('ascii')}' at byte {at:,}"
    return f"{where} has the size {size:,}, and content of {least:,} bytes" if size < least else ""


def _chunk_follows(read_at: ReadAt, length: int, at: int, order: str) -> bool:
    chunk = read_at(at, 8)
    return len(chunk) == 8 and _is_name(chunk[:4]) and at + 8 + struct.unpack(f"{order}I", chunk[4:])[0] <= length + 1


def _is_name(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def _chunk_problem(read_at: ReadAt, length: int, name: str, at: int, size: int) -> str:
    """Why there is no data chunk after the last chunk that was found."""
    if not name:
        return "no chunk after the header"
    where = f"the chunk '{name}' at byte {at:,}"
    if size % 2 and _is_name(read_at(at + 8 + size, 4)) and len(read_at(at + 8 + size, 4)) == 4:
        return f"{where} has the odd size {size:,} and no byte of padding after it, so no chunk is found behind it"
    if at + 8 + size > length:
        return f"{where} has the size {size:,}, which is longer than the file"
    return f"no data chunk; the last chunk is {where.removeprefix('the chunk ')}"
