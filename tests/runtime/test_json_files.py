"""JSON from elsewhere, and typed records from it: what the standard leaves open is refused, with the place."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyscene.runtime.bounded_files import read_bounded
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.json_files import DEEPEST_NESTING, LARGEST_JSON_BYTES, parse_json, read_json
from tinyscene.runtime.records import Length, Range, check_record, name_text, read_record

HOSTILE = {
    "nothing": (b"", "Expecting value"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "BOM"),
    "not UTF-8": (b'"\xff"', "can't decode"),
    "NaN": (b"[NaN]", "NaN is not a number"),
    "Infinity": (b"[-Infinity]", "-Infinity is not a number"),
    "1e999": (b"[1e999]", "1e999 is too large"),
    "10,000 digits": (b"1" * 10_000, "4300"),
    "a key twice": (b'{"a": 1, "b": 2, "a": 3}', "key 'a' twice"),
    "a surrogate": (b'["\\udc80"]', "surrogates not allowed"),
    "a surrogate as key": (b'{"\\udc80": 1}', "surrogates not allowed"),
    "17 levels": (b"[" * (DEEPEST_NESTING + 1) + b"1" + b"]" * (DEEPEST_NESTING + 1), "more than 16 levels"),
    "100,000 levels": (b'[{"a":' * 100_000, "nested"),
    "600,000 lists": (b"[" + b"[]," * 600_000 + b"1]", "more than 500,000 lists"),
}


@pytest.mark.parametrize(("data", "complaint"), HOSTILE.values(), ids=HOSTILE)
def test_json_that_the_standard_leaves_open_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(RuntimeFailure, match=f"table.json: not a table; got .*{complaint}.*next: copy it again"):
        parse_json(data, "table.json", "a table", "copy it again")


def test_a_large_document_is_refused_unread() -> None:
    with pytest.raises(RuntimeFailure, match="too large; expected at most 16,777,216 bytes"):
        parse_json(b" " * (LARGEST_JSON_BYTES + 1), "table.json")


NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(VALUES)
def test_every_other_document_is_read_as_it_was_written(value: object) -> None:
    assert parse_json(json.dumps(value).encode(), "x") == value


@settings(max_examples=40)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(RuntimeFailure):
        parse_json(data, "x")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "large", "unreadable name"])
def test_what_is_not_a_small_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.json"
    complaint = {"missing": "no such file", "large": "too large", "unreadable name": "cannot be read"}
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(10 * 2**30)
    elif kind == "unreadable name":
        path = tmp_path / "a\0b"
    with pytest.raises(RuntimeFailure, match=complaint.get(kind, "not a regular file")):
        read_json(path, "a table")


def test_a_link_is_followed_or_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_bounded(tmp_path / "link", 1) == b"1"
    with pytest.raises(RuntimeFailure, match="is a symbolic link"):
        read_bounded(tmp_path / "link", 1, follow_links=False)


@dataclass(frozen=True)
class Inner:
    factor: float
    count: Annotated[int, Range(1, 9)] = 1


@dataclass(frozen=True)
class Outer:
    name: Annotated[str, name_text(5)]
    kind: Literal["a", 1]
    inner: Inner
    pair: tuple[int, int]
    numbers: Annotated[tuple[Annotated[float, Range(0, 1)], ...], Length(0, 3)]
    table: Annotated[Mapping[Annotated[str, name_text(3)], bool | None], Length(0, 2)]


GOOD = {
    "name": "x",
    "kind": "a",
    "inner": {"factor": 1, "count": 2},
    "pair": [1, 2],
    "numbers": [0.5, 1],
    "table": {"a": True, "b": None},
}
WRONG = [
    ({"name": ""}, "name: invalid text; expected 1 to 5 characters"),
    ({"name": "a\0"}, "name: invalid text"),
    ({"name": 5}, "name: wrong type; expected text; got 5"),
    ({"kind": True}, "kind: unknown value"),
    ({"kind": 1.0}, "kind: unknown value"),
    ({"inner": []}, "inner: wrong type; expected an object"),
    ({"inner": {"factor": True, "count": 1}}, r"inner.factor: wrong type; expected a finite number; got True"),
    ({"inner": {"factor": float("nan"), "count": 1}}, r"inner.factor: wrong type; expected a finite number; got nan"),
    ({"inner": {"factor": 10**400, "count": 1}}, r"inner.factor: out of range; expected an integer of at most 64 bits"),
    ({"inner": {"factor": 1, "count": 2.0}}, "inner.count: wrong type; expected an integer"),
    ({"inner": {"factor": 1, "count": 10}}, "inner.count: out of range; expected 1 to 9; got 10"),
    ({"inner": {"factor": 1}}, "inner.count: missing field"),
    ({"pair": [1]}, "pair: wrong number of entries; expected 2; got 1"),
    ({"pair": [1, 2, 3]}, "pair: wrong number of entries"),
    ({"pair": "12"}, "pair: wrong type; expected a list"),
    ({"pair": [1, 2**63]}, r"pair\[1\]: out of range"),
    ({"numbers": [0.1] * 4}, "numbers: wrong number of entries; expected 0 to 3 entries; got 4"),
    ({"numbers": [0.1, 1.1]}, r"numbers\[1\]: out of range; expected 0 to 1; got 1.1"),
    ({"numbers": [0.1, float("nan")]}, r"numbers\[1\]: wrong type"),
    ({"numbers": [0.1, True]}, r"numbers\[1\]: wrong type"),
    ({"table": {"long": True}}, "table: invalid text"),
    ({"table": {"a": 1}}, "table.a: wrong type; expected true or false or null"),
    ({"table": {"a": True, "b": True, "c": True}}, "table: wrong number of entries"),
    ({"more": 1}, "more: unknown field"),
    ({"name": [[[]]] * 100_000}, "name: wrong type"),
]


@pytest.mark.parametrize(("change", "complaint"), WRONG)
def test_a_record_of_another_form_is_refused_with_its_field(change: dict[str, object], complaint: str) -> None:
    assert read_record(Outer, GOOD, "file").inner == Inner(1, 2)
    with pytest.raises(RuntimeFailure, match=f"^file, {complaint}"):
        read_record(Outer, {**GOOD, **change}, "file")


def test_an_object_is_checked_by_the_same_annotations() -> None:
    good = read_record(Outer, GOOD, "file")
    check_record(good, "here")
    with pytest.raises(RuntimeFailure, match=r"here, inner.count: out of range"):
        check_record(Outer("x", "a", Inner(1.0, 0), (1, 2), (), {}), "here")
