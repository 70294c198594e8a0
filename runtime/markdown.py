"""Tables in Markdown. Cell contents are text: a label adds no control character, column, HTML or link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .printable import printable

_ENTITIES = {"&": "&amp;", "<": "&lt;"}
_MARKUP = re.compile(r"[&<\\|\[\]`]|(?<=:)//|(?<=www)\.", re.IGNORECASE)


def cell(text: str) -> str:
    """Text for one cell, on one line; emphasis by asterisks stays."""
    return _MARKUP.sub(_escape, printable(text.replace("\n", " ")))


def _escape(match: re.Match[str]) -> str:
    if match[0] in ("//", "."):  # GitHub makes links of addresses without brackets too
        return "&#47;/" if match[0] == "//" else "&#46;"
    return _ENTITIES.get(match[0], f"\\{match[0]}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> list[str]:
    """Lines of a table; the last ``numbers`` columns are right-aligned."""
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    lines = [f"| {' | '.join(map(cell, head))} |", f"|{'|'.join(rule)}|"]
    return lines + [f"| {' | '.join(map(cell, row))} |" for row in rows]
