"""Where tables, lines and bars go: a terminal as wide as it is, or a log, which has no width and sees no bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

LOG_WIDTH = 150  # characters
T = TypeVar("T")


def wide() -> Console:
    """Standard output; in a log nothing is cut or folded. Brackets are text, as in ``pip install 'tinyscene[npu]'``."""
    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=LOG_WIDTH)


def say(console: Console, text: str) -> None:
    """A line of any length in one colour."""
    console.print(text, highlight=False, soft_wrap=True)


def bar(items: Sequence[T], title: str) -> Iterator[T]:
    """The items, with a bar on standard error that moves; silent when that is no terminal."""
    console = Console(stderr=True)
    yield from track(items, title, console=console, disable=not console.is_terminal)
