"""JSON that came from elsewhere: parsed once, bounded in size and nesting, into plain values that every codec can hold.

Refuses what the JSON standard does not define or leaves open: NaN and Infinity, numbers beyond float64, integers of
thousands of digits, duplicate keys, text that is not UTF-8, surrogates; and documents that are too large or too deeply
nested. The content is validated by :func:`tinyscene.runtime.records.read_record`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import NoReturn

from .bounded_files import read_bounded
from .errors import RuntimeFailure

LARGEST_JSON_BYTES = 16 * 2**20  # an evaluation of 200,000 clips; an empty list takes 20 times its two characters
MOST_CONTAINERS = 500_000  # lists and objects of one document
DEEPEST_NESTING = 16


class _RefusedError(ValueError):
    """What the parser found, in words."""


def read_json(path: Path, what: str, next_step: str = "") -> object:
    """The content of a JSON file.

    Args:
        what: what the file should be, such as ``a baseline``, for messages.
        next_step: what the user can do about a refusal.

    Raises:
        RuntimeFailure: the file is missing, not a regular one, or too large, or see the module's refusals.
    """
    return parse_json(read_bounded(path, LARGEST_JSON_BYTES, next_step), str(path), what, next_step)


def parse_json(data: bytes, where: str, what: str = "JSON", next_step: str = "") -> object:
    """The value of a JSON document; raises RuntimeFailure as :func:`read_json` does.

    Args:
        where: the file, for messages.
    """
    if len(data) > LARGEST_JSON_BYTES:
        expected, got = f"at most {LARGEST_JSON_BYTES:,} bytes", f"{len(data):,}"
        raise RuntimeFailure(where, "too large", expected=expected, got=got, next_step=next_step)
    try:
        text = data.decode("utf-8")
        if text.count("[") + text.count("{") > MOST_CONTAINERS:
            raise _RefusedError(f"more than {MOST_CONTAINERS:,} lists and objects")
        value: object = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite_number
        )
        _require_plain(value)
    except (ValueError, RecursionError) as problem:  # ValueError: also of the codec, the parser and long integers
        got = "nested too deeply" if isinstance(problem, RecursionError) else str(problem)
        raise RuntimeFailure(where, f"not {what}", got=got[:200], next_step=next_step) from None
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _RefusedError(f"key {duplicate[:80]!r} twice")
    return entries


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not a number in JSON")


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError(f"number {text[:40]} is too large")
    return number


def _require_plain(document: object) -> None:
    """Refuse deep nesting and text that UTF-8 cannot hold, level by level, without recursion."""
    level: list[object] = [document]
    for _ in range(DEEPEST_NESTING + 1):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.keys()
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str):
                value.encode()  # UnicodeEncodeError, a ValueError, for surrogates
        if not inner:
            return
        level = inner
    raise _RefusedError(f"nested more than {DEEPEST_NESTING} levels")
