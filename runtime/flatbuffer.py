"""Read FlatBuffers strictly: tables become frozen records, and no offset, vtable or length leaves the file.

A record's fields state their slot in the table, type and range (:func:`scalar`, :func:`vector`, :func:`text`,
:func:`table`, :func:`tables`, :func:`union`); whatever has no field is skipped unread. Vectors are views of the file,
so a length beyond the file allocates nothing. Refuses what :class:`Malformed` describes, and files whose tables share
their parts so often that reading them takes more than :data:`READ_LIMIT` times their size.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

R = TypeVar("R")
READ_LIMIT = 4
_SMALL = 65_536  # bytes that any file may take, however short
_OFFSET, _SIGNED_OFFSET, _VTABLE_ENTRY = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<H")


class Malformed(Exception):
    """The bytes are no such FlatBuffer: which field, what is wrong, and what was expected and found."""

    def __init__(self, field: str, what: str, expected: str = "", got: str = "") -> None:
        super().__init__(field, what)
        self.field, self.what, self.expected, self.got = field, what, expected, got


@dataclass(frozen=True)
class _Slot:
    """Where a field is in its table: slot number, bytes in the table, and how to read it at a position.

    ``optional``: the record's default stands for a missing field; otherwise ``read`` gets position 0.
    """

    number: int
    n_bytes: int
    read: Callable[[Reader, int, str], Any]
    optional: bool = True


def scalar(slot: int, dtype: str, default: float = 0, low: float = -math.inf, high: float = math.inf) -> Any:
    """A number in [low, high], also where the file leaves it out; of 64 bits only unsigned integers."""
    kind = np.dtype(dtype)
    layout = struct.Struct(f"<{kind.char}" if kind.itemsize < 8 else "<Q")

    def read(reader: Reader, at: int, field: str) -> Any:
        return _in_range(reader.number(at, layout) if at else default, low, high, field)

    metadata = {"slot": _Slot(slot, layout.size, read, optional=False)}
    return dataclasses.field(default=default, metadata=metadata)


def vector(slot: int, dtype: str, low: float = -math.inf, high: float = math.inf) -> Any:
    """Numbers in [low, high]: an array that views the file, empty where the file leaves it out."""
    kind = np.dtype(dtype)

    def read(reader: Reader, at: int, field: str) -> Any:
        values = reader.array(at, kind, field)
        reader.take(values.nbytes, field)
        if values.size and not (values.min() >= low and values.max() <= high):  # also where they are NaN
            raise Malformed(field, "out of range", _range(low, high), f"{values.min():g} to {values.max():g}")
        return values

    return dataclasses.field(default_factory=lambda: np.zeros(0, kind), metadata={"slot": _Slot(slot, 4, read)})


def bulk(slot: int) -> Any:
    """Bytes of any number: a view of the file."""
    metadata = {"slot": _Slot(slot, 4, lambda reader, at, field: reader.array(at, np.dtype(np.uint8), field))}
    return dataclasses.field(default_factory=lambda: np.zeros(0, np.uint8), metadata=metadata)


def text(slot: int) -> Any:
    """UTF-8; bytes that are none, and NUL, at which C would end the text, become U+FFFD."""

    def read(reader: Reader, at: int, field: str) -> Any:
        values = reader.array(at, np.dtype(np.uint8), field)
        reader.take(values.nbytes, field)
        return values.tobytes().decode(errors="replace").replace("\0", "\ufffd")

    return dataclasses.field(default="", metadata={"slot": _Slot(slot, 4, read)})


def present(slot: int) -> Any:
    """Whether the table has this part, which is not read."""
    return dataclasses.field(default=False, metadata={"slot": _Slot(slot, 4, lambda reader, at, field: True)})


def table(slot: int, kind: type) -> Any:
    """A record of this kind, or None."""
    read = lambda reader, at, field: reader.table(kind, reader.target(at, field), field)  # noqa: E731
    return dataclasses.field(default=None, metadata={"slot": _Slot(slot, 4, read)})


def tables(slot: int, kind: type, most: int) -> Any:
    """Up to ``most`` records of this kind."""

    def read(reader: Reader, at: int, field: str) -> Any:
        start, count = reader.vector_at(at, 4, field)
        _in_range(count, 0, most, f"{field}, number")
        places = range(start, start + 4 * count, 4)
        names = (f"{field.removesuffix('s')} {number}" for number in range(count))
        return tuple(
            reader.table(kind, reader.target(place, name), name) for place, name in zip(places, names, strict=True)
        )

    return dataclasses.field(default=(), metadata={"slot": _Slot(slot, 4, read)})


def union(slot: int, kinds: Mapping[int, type]) -> Any:
    """The record of a union, whose type number is in the slot before; None for types that are not in ``kinds``."""
    return dataclasses.field(default=None, metadata={"union": (slot, kinds)})


def read_flatbuffer(kind: type[R], data: bytes) -> R:
    """The root table of a file as a record; raises Malformed."""
    reader = Reader(data)
    return reader.table(kind, reader.target(0, ""), "")


class Reader:
    """Bounds-checked access to one file."""

    def __init__(self, data: bytes) -> None:
        self._bytes, self._data = data, np.frombuffer(data, np.uint8)
        self._left = READ_LIMIT * len(data) + _SMALL

    def table(self, kind: type[R], at: int, field: str) -> R:
        """The record whose table is at this position."""
        vtable = at - self.number(at, _SIGNED_OFFSET, field)
        vtable_bytes, table_bytes = (self.number(vtable + skip, _VTABLE_ENTRY, field) for skip in (0, 2))
        if vtable_bytes < 4 or table_bytes < 4:
            raise Malformed(field, "table without a header")
        self._within(vtable, vtable_bytes, field)
        self._within(at, table_bytes, field)
        self.take(vtable_bytes + table_bytes, field)

        def place(number: int, n_bytes: int, name: str) -> int:
            """Where a slot is; 0 where the table leaves it out."""
            entry = 4 + 2 * number
            offset = self.number(vtable + entry, _VTABLE_ENTRY) if entry + 2 <= vtable_bytes else 0
            if offset and not 4 <= offset <= table_bytes - n_bytes:
                raise Malformed(name, "outside its table")
            return at + offset if offset else 0

        values: dict[str, object] = {}
        for name, slot, default in _slots(cast("Any", kind)):
            path = f"{field}, {name}" if field else name
            if isinstance(slot, _Slot):
                position = place(slot.number, slot.n_bytes, path)
                values[name] = default() if slot.optional and not position else slot.read(self, position, path)
            else:
                number, kinds = slot
                code, position = place(number - 1, 1, path), place(number, 4, path)
                chosen = kinds.get(int(self._data[code])) if code and position else None
                values[name] = None if chosen is None else self.table(chosen, self.target(position, path), path)
        return kind(**values)

    def number(self, at: int, layout: struct.Struct, field: str = "") -> Any:
        """The number at this position, as Python's int, float or bool."""
        if not 0 <= at <= len(self._bytes) - layout.size:
            self._within(at, layout.size, field)
        return layout.unpack_from(self._bytes, at)[0]

    def target(self, at: int, field: str) -> int:
        """The position that the offset at ``at`` points to, behind it and inside the file."""
        offset = self.number(at, _OFFSET, field)
        if offset == 0:
            raise Malformed(field, "empty offset")
        self._within(at + offset, 4, field)
        return at + int(offset)

    def vector_at(self, at: int, item_bytes: int, field: str) -> tuple[int, int]:
        """First item and number of items of the vector that the offset at ``at`` points to."""
        start = self.target(at, field)
        count = self.number(start, _OFFSET, field)
        self._within(start + 4, count * item_bytes, field)
        return start + 4, count

    def array(self, at: int, kind: np.dtype[Any], field: str) -> npt.NDArray[Any]:
        start, count = self.vector_at(at, kind.itemsize, field)
        return self._data[start : start + count * kind.itemsize].view(kind)

    def take(self, n_bytes: int, field: str) -> None:
        """Count what was read; parts that many tables share are read once for each."""
        self._left -= n_bytes
        if self._left < 0:
            raise Malformed(field, f"tables share their parts: reading them takes over {READ_LIMIT} times the file")

    def _within(self, at: int, n_bytes: int, field: str) -> None:
        if not 0 <= at <= at + n_bytes <= len(self._data):
            raise Malformed(field, "points outside the file", "", f"byte {at}, {n_bytes} long")


@cache
def _slots(kind: type) -> tuple[tuple[str, Any, Callable[[], object]], ...]:
    """Of each field its name, its slot, and the value of one that the file leaves out."""
    rows = []
    for field in dataclasses.fields(kind):
        factory = field.default_factory
        default = factory if callable(factory) else (lambda value=field.default: value)
        slot = field.metadata["slot"] if "slot" in field.metadata else field.metadata["union"]
        rows.append((field.name, slot, cast("Callable[[], object]", default)))
    return tuple(rows)


def _in_range(value: float, low: float, high: float, field: str) -> float:
    if not low <= value <= high or not math.isfinite(value):
        raise Malformed(field, "out of range", _range(low, high), str(value))
    return value


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "finite numbers"
    return f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
