"""Terminal output: results go to standard output; progress bars, notes and errors to standard error.

Text reaches the terminal through this module only, because labels, layer names, device names and file names come from
files made elsewhere: :func:`printable` escapes what would move the cursor, change colours, forge a line or reverse the
direction of the text. Everything here but :func:`echo_document` applies it, once per line.

Tables fit the terminal, and ``PIPED_WIDTH`` columns in a pipe or a file. A pipe gets no bars and no colours; NO_COLOR
turns colours off in a terminal too (rich reads it). ``--quiet`` is a setting of the process, like a log level: after
``set_quiet(True)`` there are no bars and no notes. rich is imported where something is drawn, so that ``--help`` stays
quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from .printable import printable
from .system_errors import about

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PIPED_WIDTH = 100  # characters
GAP = 2  # spaces between two columns of a table
T = TypeVar("T")
_quiet = False


@dataclass(frozen=True)
class Column:
    """One column of :func:`print_table`.

    Attributes:
        heading: may be broken into lines at its spaces.
        right: align to the right, for numbers.
        priority: 0 is always shown; where the table is too wide, the highest numbers are left out first.
        wraps: cells may be broken into lines at their spaces; otherwise each stays on one line.
        footer: total below the column.
    """

    heading: str
    right: bool = False
    priority: int = 0
    wraps: bool = False
    footer: str = ""


def set_quiet(quiet: bool) -> None:
    """Turn bars and notes off or on."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether bars and notes are turned off."""
    return _quiet


def shows_bars() -> bool:
    """Whether progress bars are drawn: standard error is a terminal, and quiet is off."""
    return not _quiet and sys.stderr.isatty()


def echo(text: str, *, err: bool = False) -> None:
    """Print one line of text to standard output at once, or to standard error, where a failure is ignored."""
    if err:
        with suppress(OSError):
            print(printable(text), file=sys.stderr, flush=True)
    else:
        with about("standard output"):
            print(printable(text), flush=True)


def echo_document(text: str) -> None:
    """Print a document of several lines whose writer has escaped its text: JSON or Markdown."""
    with about("standard output"):
        print(text.removesuffix("\n"), flush=True)


def notes(where: str, texts: Iterable[str]) -> None:
    """Print notes about ``where`` to standard error, one line each."""
    for note in () if _quiet else texts:
        echo(f"note: {where}: {note}", err=True)


def wide() -> Console:
    """A console for standard output, ``PIPED_WIDTH`` columns wide in a pipe; see :func:`console`."""
    on_terminal = console()
    return on_terminal if on_terminal.is_terminal else console(width=PIPED_WIDTH)


def console(*, width: int | None = None, stderr: bool = False) -> Console:
    """A console on which brackets and colons are text, not markup or emoji; on standard error, ``--quiet`` mutes it."""
    from rich.console import Console

    quiet = stderr and _quiet
    return Console(markup=False, emoji=False, highlight=False, width=width, stderr=stderr, quiet=quiet)


def print_table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    styles: Sequence[str] = (),
    every_column: bool = False,
    advice: str = "",
) -> None:
    """Print a table to standard output, within the width of the terminal or ``PIPED_WIDTH``.

    Columns without any text in ``rows`` are omitted. Where the others do not fit, lines are first broken at spaces
    (headings, and cells of columns that wrap); then columns are omitted by priority, and the last line names them. A
    word, such as the name of a target, is never broken: if the columns of priority 0 are too wide, lines are longer.

    Args:
        rows: one text per column each.
        styles: rich's style of each row, such as ``"bold red"``; none by default.
        every_column: omit none and break no cell, however long the lines become.
        advice: added to the line about omitted columns, such as ``"--wide shows them"``.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    terminal = wide()
    columns = [replace(each, heading=printable(each.heading), footer=printable(each.footer)) for each in columns]
    rows = [tuple(map(printable, row)) for row in rows]
    filled = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    available = sys.maxsize if every_column else terminal.width
    shown = _columns_that_fit(filled, columns, rows, available)
    widths = _column_widths(shown, columns, rows, available)
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        show_footer=any(columns[i].footer for i in shown),
    )
    for i in shown:
        column = columns[i]
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.heading, column.footer, justify=justify, width=widths[i])
    for number, row in enumerate(rows):
        table.add_row(*(row[i] for i in shown), style=styles[number] if styles else "")
    say(terminal, title, style="italic")
    total = sum(widths.values()) + GAP * (len(shown) - 1)
    with about("standard output"):
        (terminal if total <= terminal.width else console(width=total)).print(table)
    omitted = [columns[i].heading for i in filled if i not in shown]
    if omitted:
        say(terminal, "; ".join(filter(None, (f"not shown for lack of width: {', '.join(omitted)}", advice))))


def _columns_that_fit(
    filled: Sequence[int], columns: Sequence[Column], rows: Sequence[Sequence[str]], available: int
) -> list[int]:
    """Indices of the columns that fit at their smallest widths; the highest priority number is omitted first."""
    shown = list(filled)
    while sum(_smallest(columns[i], [row[i] for row in rows]) + GAP for i in shown) - GAP > available:
        last = max(shown, key=lambda i: (columns[i].priority, i))
        if columns[last].priority == 0:
            break
        shown.remove(last)
    return shown


def _column_widths(
    shown: Sequence[int], columns: Sequence[Column], rows: Sequence[Sequence[str]], available: int
) -> dict[int, int]:
    """Characters per column: what is left over widens the columns from left to right until no line is broken."""
    from rich.cells import cell_len

    widths = {i: _smallest(columns[i], [row[i] for row in rows]) for i in shown}
    spare = available - sum(widths.values()) - GAP * (len(shown) - 1)
    for i in shown:
        texts = (columns[i].heading, columns[i].footer, *(row[i] for row in rows))
        wider = max(0, min(max(map(cell_len, texts)) - widths[i], spare))
        widths[i], spare = widths[i] + wider, spare - wider
    return widths


def _smallest(column: Column, cells: Sequence[str]) -> int:
    """Width in characters at which no word, and no cell of a column that does not wrap, is broken."""
    from rich.cells import cell_len

    words = (column.heading, *cells) if column.wraps else (column.heading,)
    lines = (column.footer,) if column.wraps else (column.footer, *cells)
    return max(cell_len(text) for text in (*(word for text in words for word in text.split()), *lines))


def end_of(name: str, cells: int) -> str:
    """A name as it is shown within ``cells`` characters of a terminal: its end, which differs where beginnings are
    alike."""
    from rich.cells import cell_len

    shown = printable(name)
    if cell_len(shown) <= cells:
        return shown
    shown = shown[-cells:]
    while cell_len(shown) >= cells:
        shown = shown[1:]
    return f"\N{HORIZONTAL ELLIPSIS}{shown}"


def say(console: Console, text: str, *, style: str | None = None) -> None:
    """Print a line of any length, without highlighting; ``style`` is rich's, such as ``"bold red"``."""
    with suppress(OSError) if console.stderr else about("standard output"):
        console.print(printable(text), style=style, highlight=False, soft_wrap=True)


def bars() -> Progress:
    """Progress bars on standard error, removed at the end; a piped standard output is not affected."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Description(TextColumn):
        def render(self, task: Task) -> Text:
            return Text(printable(task.description))

    columns = (Description(""), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(
        *columns,
        console=console(stderr=True),
        transient=True,
        disable=not shows_bars(),
        redirect_stdout=sys.stdout.isatty(),
    )


def bar(items: Iterable[T], title: str, *, total: int | None = None, shown: bool = True) -> Iterator[T]:
    """Iterate with a progress bar, if ``shown``; ``total`` is needed for items without a length."""
    if not (shown and shows_bars()):
        yield from items
        return
    with bars() as progress:
        yield from progress.track(items, total=total, description=title)


@contextmanager
def steps(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar for named steps; yields a function that starts the next step."""
    with bars() as progress:
        task = progress.add_task(title, total=total)
        started = False

        def step(name: str) -> None:
            nonlocal started
            progress.update(task, description=f"{title}: {name}", advance=1 if started else 0)
            started = True

        yield step


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """A progress bar for work of unknown length."""
    with bars() as progress:
        progress.add_task(title, total=None)
        yield
