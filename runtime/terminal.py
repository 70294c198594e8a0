"""Where tables, lines and bars go: answers to standard output; bars, notes and errors to standard error.

A log has no width, and sees no bar and no colour; nor does anybody who sets NO_COLOR (rich reads it). How much is said
is a property of the process, as a log level is: after ``set_quiet(True)``, which is what ``--quiet`` does, there are no
bars and no notes. rich is imported where something is drawn, so that asking for help stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

LOG_WIDTH = 150  # characters
T = TypeVar("T")
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Whether bars and notes are left out from now on."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether only answers are wanted."""
    return _quiet


def shows_bars() -> bool:
    """Whether somebody watches: standard error is a terminal, and nobody asked for quiet."""
    return not _quiet and sys.stderr.isatty()


def notes(where: str, said: Iterable[str]) -> None:
    """What a reader should know beside the answer, a line each."""
    for note in () if _quiet else said:
        print(f"note: {where}: {note}", file=sys.stderr)


def wide() -> Console:
    """Standard output; in a log nothing is cut or folded. Brackets are text, as in ``pip install '.[npu]'``."""
    from rich.console import Console

    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=LOG_WIDTH)


def say(console: Console, text: str) -> None:
    """A line of any length in one colour."""
    console.print(text, highlight=False, soft_wrap=True)


def bars() -> Progress:
    """Bars on standard error while it is entered, gone afterwards; they leave a piped standard output alone."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(
        *columns,
        console=Console(stderr=True, markup=False),
        transient=True,
        disable=not shows_bars(),
        redirect_stdout=sys.stdout.isatty(),
    )


def bar(items: Iterable[T], title: str, *, total: int | None = None, shown: bool = True) -> Iterator[T]:
    """The items, with a bar that moves, unless it is not to be ``shown``; ``total`` where items have no length."""
    if not (shown and shows_bars()):
        yield from items
        return
    with bars() as drawn:
        yield from drawn.track(items, total=total, description=title)


@contextmanager
def steps(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar for steps that have names: calling what it gives names the next one."""
    with bars() as drawn:
        task = drawn.add_task(title, total=total)
        started = False

        def step(name: str) -> None:
            nonlocal started
            drawn.update(task, description=f"{title}: {name}", advance=1 if started else 0)
            started = True

        yield step


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """A sign of life for work that cannot be counted."""
    with bars() as drawn:
        drawn.add_task(title, total=None)
        yield
