"""Frozen typed records from JSON values: validates the content of a file once and completely.

The schema is the record's own annotations: int, float, str, bool, None, Literal, tuples, mappings from str, other
dataclasses, unions of these, object for anything, and :class:`Range`, :class:`Length` and :class:`Text` inside
``Annotated``. A record that is a Python object already is checked by the same annotations (:func:`check_record`).
Refuses missing and unknown keys, other types, numbers out of range, not finite or beyond 64 bits, lists, mappings and
text of another size or form, each with the path to the field. Libraries such as pydantic, msgspec or cattrs do the
same; they are left out to keep the base install small.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from sys import float_info
from types import NoneType, UnionType
from typing import Annotated, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .errors import RuntimeFailure

T = TypeVar("T")
_WORDS: dict[object, str] = {
    int: "an integer",
    float: "a finite number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    tuple: "a list",
    Mapping: "an object",
}
_LARGEST_INTEGER = 2**63 - 1
_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included."""

    low: float
    high: float = math.inf

    def __str__(self) -> str:
        return f"{_figure(self.low)} {'or more' if self.high == math.inf else f'to {_figure(self.high)}'}"


@dataclass(frozen=True)
class Length:
    """Bounds of the number of entries of a list or an object, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low} entries" if self.low == self.high else f"{self.low} to {self.high} entries"


@dataclass(frozen=True)
class Text:
    """Regular expression that the whole text matches, and what it is in words."""

    pattern: str
    words: str


def name_text(longest: int, shortest: int = 1) -> Text:
    """Any text that C strings, zip members and UTF-8 files can hold: names from other tools have spaces and slashes."""
    words = f"{shortest} to {longest:,} characters without U+0000"
    return Text(rf"[^\0\ud800-\udfff]{{{shortest},{longest}}}", words)


class _MismatchError(Exception):
    def __init__(self, field: str, what: str, expected: str, got: str) -> None:
        super().__init__(field)
        self.field, self.what, self.expected, self.got = field, what, expected, got


def read_record(kind: type[T], value: object, where: str, next_step: str = "") -> T:
    """The dataclass ``kind`` with the content of a parsed JSON document.

    Lists become tuples; an integer is accepted for a float and stays an integer.

    Args:
        where: the file, for messages.
        next_step: what the user can do about a refusal.

    Raises:
        RuntimeFailure: the value does not have this form; names the field.
    """
    try:
        return cast(T, _read(kind, value, ""))
    except _MismatchError as mismatch:
        raise _refusal(mismatch, where, next_step) from None


def check_record(record: object, where: str) -> None:
    """Check the fields of a dataclass instance by its annotations; raises RuntimeFailure that names the field."""
    try:
        _checked(type(record), record, "")
    except _MismatchError as mismatch:
        raise _refusal(mismatch, where, "") from None


def _refusal(mismatch: _MismatchError, where: str, next_step: str) -> RuntimeFailure:
    place = f"{where}, {mismatch.field}" if mismatch.field else where
    return RuntimeFailure(place, mismatch.what, expected=mismatch.expected, got=mismatch.got, next_step=next_step)


def _read(kind: object, value: object, field: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is object:
        return value  # the caller reads it
    if origin is Annotated:
        return _constrained(arguments, value, field)
    if origin in (Union, UnionType):
        return _one_of(arguments, value, field)
    if origin is Literal:
        if any(value == allowed and type(value) is type(allowed) for allowed in arguments):
            return value
        raise _MismatchError(field, "unknown value", " or ".join(map(repr, arguments)), _shown(value))
    if origin is tuple:
        return _items(arguments, value, field)
    if origin is not None and issubclass(origin, Mapping):
        _require(isinstance(value, dict), Mapping, value, field)
        entries = cast("dict[str, object]", value)
        return {
            _read(arguments[0], key, field): _read(arguments[1], e, _join(field, key)) for key, e in entries.items()
        }
    if isinstance(kind, type) and is_dataclass(kind):
        return _checked(kind, value, field) if isinstance(value, kind) else _record(kind, value, field)
    if kind is float and type(value) is int:
        kind = int
    _require(type(value) is kind, kind, value, field)
    if isinstance(value, float):
        _require(math.isfinite(value), float, value, field)
    elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise _MismatchError(field, "out of range", "an integer of at most 64 bits", _shown(value))
    return value


def _constrained(arguments: tuple[object, ...], value: object, field: str) -> object:
    base, *constraints = arguments
    for constraint in constraints:
        if isinstance(constraint, Length):
            _require_length(constraint, value, field)  # before each of a million entries is read
    result = _read(base, value, field)
    for constraint in constraints:
        if isinstance(constraint, Range) and isinstance(result, int | float):
            if not constraint.low <= result <= constraint.high:
                raise _MismatchError(field, "out of range", str(constraint), str(result))
        elif isinstance(constraint, Text) and not re.fullmatch(constraint.pattern, str(result)):
            raise _MismatchError(field, "invalid text", constraint.words, _shown(result))
    return result


def _require_length(length: Length, value: object, field: str) -> None:
    if isinstance(value, list | tuple | dict) and not length.low <= len(value) <= length.high:
        raise _MismatchError(field, "wrong number of entries", str(length), str(len(value)))


def _one_of(kinds: tuple[object, ...], value: object, field: str) -> object:
    mismatches = []
    for kind in kinds:
        try:
            return _read(kind, value, field)
        except _MismatchError as mismatch:
            mismatches.append(mismatch)
    deepest = max(mismatches, key=lambda mismatch: len(mismatch.field))
    if deepest.field != field:
        raise deepest
    expected = " or ".join(dict.fromkeys(mismatch.expected for mismatch in mismatches))
    raise _MismatchError(field, deepest.what, expected, deepest.got)


def _items(kinds: tuple[object, ...], value: object, field: str) -> tuple[object, ...]:
    _require(isinstance(value, list | tuple), tuple, value, field)
    items = cast("list[object]", value)
    if kinds[-1:] == (...,) and _are_numbers(kinds[0], items):
        return tuple(items)
    if kinds[-1:] == (...,):
        kinds = (kinds[0],) * len(items)
    if len(items) != len(kinds):
        raise _MismatchError(field, "wrong number of entries", str(len(kinds)), str(len(items)))
    return tuple(_read(kind, item, f"{field}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _are_numbers(kind: object, items: list[object]) -> bool:
    """Whether all are numbers within the range of a float ``kind``: the quick way for millions of them."""
    base, *constraints = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if base is not float or any(not isinstance(constraint, Range) for constraint in constraints):
        return False
    low = max([-float_info.max, *(constraint.low for constraint in constraints)])
    high = min([float_info.max, *(constraint.high for constraint in constraints)])
    return all(
        (type(item) is float or (type(item) is int and abs(item) <= _LARGEST_INTEGER)) and low <= item <= high
        for item in items
    )


def _record(kind: type, value: object, field: str) -> object:
    _require(isinstance(value, dict), Mapping, value, field)
    entries, hints = cast("dict[str, object]", value), _annotations(kind)
    for what, names in (("missing", hints.keys() - entries), ("unknown", entries.keys() - hints)):
        if names:
            name = min(names)
            expected = ", ".join(sorted(hints)) or "no field"
            raise _MismatchError(_join(field, name), f"{what} field", expected, _shown(name))
    return kind(**{name: _read(hint, entries[name], _join(field, name)) for name, hint in hints.items()})


def _checked(kind: type, record: object, field: str) -> object:
    for name, hint in _annotations(kind).items():
        _read(hint, getattr(record, name), _join(field, name))
    return record


@cache
def _annotations(kind: type) -> dict[str, object]:
    hints = get_type_hints(kind, include_extras=True)
    assert is_dataclass(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def _require(condition: bool, kind: object, value: object, field: str) -> None:
    if not condition:
        raise _MismatchError(field, "wrong type", _WORDS.get(kind, str(kind)), _shown(value))


def _shown(value: object) -> str:
    """The value for a message, cut; also that of a nested or enormous one."""
    return reprlib.repr(value)[:_LONGEST_SHOWN]


def _figure(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def _join(field: str, name: str) -> str:
    key = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
    return f"{field}.{key}" if field else key
