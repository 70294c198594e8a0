"""Read a safetensors file: 8 bytes with the length of a JSON header, the header, and the tensors' bytes without gaps.

Nothing in the format is code, and nothing is allocated before the header is validated: at most 16 MiB of JSON, each
entry of a known type, a shape of at most 8 axes, and a range of bytes that its type and shape take; together the ranges
cover the rest of the file exactly once. Refuses everything else, types that a network's weights never have (8-bit
floats) among it. The reader is our own because the library's is native code that would need this check before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from tinyscene.runtime.errors import GET_ANOTHER, RuntimeFailure
from tinyscene.runtime.json_files import LARGEST_JSON_BYTES, parse_json
from tinyscene.runtime.records import Length, Range, read_record

from ..errors import TrainingError

LENGTH_BYTES = 8  # of the header's length, an unsigned little-endian integer
METADATA = "__metadata__"  # the only entry that is no tensor: text by text
LARGEST_SHAPE = 2**48  # product of the axes that are not 0, so that PyTorch's 64-bit sizes do not overflow
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_Offset = Annotated[int, Range(0)]


@dataclass(frozen=True)
class _Entry:
    """A tensor: its bytes are ``data_offsets[0]`` to ``data_offsets[1]`` after the header."""

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]
    shape: Annotated[tuple[Annotated[int, Range(0, 2**40)], ...], Length(0, 8)]
    data_offsets: tuple[_Offset, _Offset]


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as a safetensors file does: a length that it can have, and an opening brace."""
    with path.open("rb") as file:
        head = file.read(LENGTH_BYTES + 1)
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    return head[LENGTH_BYTES:] == b"{" and LENGTH_BYTES + length <= path.stat().st_size


def read_safetensors(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, and its metadata, where it has any, under ``__metadata__``.

    Raises:
        TrainingError: see the module's refusals.
    """
    with path.open("rb") as file:
        n_bytes = path.stat().st_size
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if not 2 <= length <= min(LARGEST_JSON_BYTES, n_bytes - LENGTH_BYTES):
            raise _damaged(path, f"a header of {length:,} bytes in a file of {n_bytes:,}")
        entries, metadata = _header(path, file.read(length))
        _check_layout(path, entries, n_bytes - LENGTH_BYTES - length)
        content: dict[str, Any] = {}
        for name, entry in entries.items():
            begin, end = entry.data_offsets
            data = bytearray(end - begin)
            file.seek(LENGTH_BYTES + length + begin)
            if file.readinto(data) != len(data):  # another process cut it in the meantime
                raise _damaged(path, "an end before the last tensor")
            content[name] = _tensor(entry, data)
    return content | ({METADATA: metadata} if metadata else {})


def _header(path: Path, data: bytes) -> tuple[dict[str, _Entry], dict[str, str]]:
    try:
        header = parse_json(data, str(path), "a safetensors header")
        if not isinstance(header, dict):
            raise _damaged(path, "a header that is no JSON object")
        metadata = header.pop(METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise _damaged(path, f"{METADATA} that is not text by text")
        where = f"{path}, tensor "
        return {n: read_record(_Entry, entry, f"{where}'{n[:80]}'") for n, entry in header.items()}, metadata
    except RuntimeFailure as problem:
        raise TrainingError(
            problem.where, problem.what, expected=problem.expected, got=problem.got, next_step=GET_ANOTHER
        ) from None


def _check_layout(path: Path, entries: dict[str, _Entry], data_bytes: int) -> None:
    """Require that each range is as long as its type and shape, and that they cover the data exactly once."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        needed = math.prod(entry.shape) * _TYPES[entry.dtype].itemsize
        if begin != at or end - begin != needed or math.prod(n for n in entry.shape if n) > LARGEST_SHAPE:
            got = f"bytes {begin:,} to {end:,} for {entry.dtype} {list(entry.shape)}, where {at:,} is next"
            raise _damaged(path, f"tensor '{name[:80]}' at {got}")
        at = end
    if at != data_bytes:
        raise _damaged(path, f"{data_bytes:,} bytes of data, of which the tensors take {at:,}")


def _tensor(entry: _Entry, data: bytearray) -> Tensor:
    kind = _TYPES[entry.dtype]
    if not data:
        return torch.empty(entry.shape, dtype=kind)
    if kind is torch.bool:  # a byte that is neither 0 nor 1 is no valid bool in memory
        return (torch.frombuffer(data, dtype=torch.uint8) != 0).reshape(entry.shape)
    return torch.frombuffer(data, dtype=kind).reshape(entry.shape)


def _damaged(path: Path, got: str) -> TrainingError:
    return TrainingError(str(path), "not a readable safetensors file", got=got, next_step=GET_ANOTHER)
