"""Tables in Markdown; cell contents are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Text for one cell, on one line."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> list[str]:
    """Lines of a table; the last ``numbers`` columns are right-aligned."""
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    lines = [f"| {' | '.join(map(cell, head))} |", f"|{'|'.join(rule)}|"]
    return lines + [f"| {' | '.join(map(cell, row))} |" for row in rows]
