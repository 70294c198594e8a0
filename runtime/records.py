"""Frozen typed records from JSON values: the border at which a file's content is validated, once and completely.

The schema is the record's own annotations: int, float, str, bool, None, Literal, tuples, mappings from str, other
dataclasses, unions of these, and :class:`Range` and :class:`Text` inside ``Annotated``. Refuses missing and unknown
keys, other types, numbers out of range or not finite, and text of another form, each with the path to the field.
Libraries such as pydantic, msgspec or cattrs do the same; they are left out to keep the base install small.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
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


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included."""

    low: float
    high: float = math.inf

    def __str__(self) -> str:
        return f"{self.low:g} or more" if self.high == math.inf else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Text:
    """Regular expression that the whole text matches, and what it is in words."""

    pattern: str
    words: str


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
        raise RuntimeFailure(
            f"{where}, {mismatch.field}" if mismatch.field else where,
            mismatch.what,
            expected=mismatch.expected,
            got=mismatch.got,
            next_step=next_step,
        ) from None


def _read(kind: object, value: object, field: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _constrained(arguments, value, field)
    if origin in (Union, UnionType):
        return _one_of(arguments, value, field)
    if origin is Literal:
        if any(value == allowed and type(value) is type(allowed) for allowed in arguments):
            return value
        raise _MismatchError(field, "unknown value", " or ".join(map(repr, arguments)), repr(value)[:80])
    if origin is tuple:
        return _items(arguments, value, field)
    if origin is not None and issubclass(origin, Mapping):
        _require(isinstance(value, dict), Mapping, value, field)
        entries = cast("dict[str, object]", value)
        return {key: _read(arguments[1], entry, _join(field, key)) for key, entry in entries.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind, value, field)
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        _require(number, float, value, field)
    else:
        _require(type(value) is kind, kind, value, field)
    return value


def _constrained(arguments: tuple[object, ...], value: object, field: str) -> object:
    base, *constraints = arguments
    result = _read(base, value, field)
    for constraint in constraints:
        if isinstance(constraint, Range) and isinstance(result, int | float):
            if not constraint.low <= result <= constraint.high:
                raise _MismatchError(field, "out of range", str(constraint), str(result))
        elif isinstance(constraint, Text) and not re.fullmatch(constraint.pattern, str(result)):
            raise _MismatchError(field, "invalid text", constraint.words, repr(result)[:80])
    return result


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
    _require(isinstance(value, list), tuple, value, field)
    items = cast("list[object]", value)
    if kinds[-1:] == (...,):
        kinds = (kinds[0],) * len(items)
    if len(items) != len(kinds):
        raise _MismatchError(field, "wrong number of entries", str(len(kinds)), str(len(items)))
    return tuple(_read(kind, item, f"{field}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _record(kind: type, value: object, field: str) -> object:
    _require(isinstance(value, dict), Mapping, value, field)
    entries, hints = cast("dict[str, object]", value), _annotations(kind)
    for what, names in (("missing", hints.keys() - entries), ("unknown", entries.keys() - hints)):
        if names:
            name = min(names)
            raise _MismatchError(_join(field, name), f"{what} field", ", ".join(sorted(hints)), name)
    return kind(**{name: _read(hint, entries[name], _join(field, name)) for name, hint in hints.items()})


@cache
def _annotations(kind: type) -> dict[str, object]:
    hints = get_type_hints(kind, include_extras=True)
    assert is_dataclass(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def _require(condition: bool, kind: object, value: object, field: str) -> None:
    if not condition:
        raise _MismatchError(field, "wrong type", _WORDS[kind], repr(value)[:80])


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name
