"""Verification and progress on a terminal: the matrix, what differs, what was skipped and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .verify import TargetResult, Verification

STYLES = {"equal": "green", "named exception": "yellow", "different": "bold red", "skipped": "dim"}
LOG_WIDTH = 150  # characters
COLUMNS = ("target", "rule", "verdict", "bytes different", "accuracy", "= float", "flash B", "RAM B", "instructions")


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error; calling what it gives names the next step. Silent when not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        started = False

        def step(name: str) -> None:
            nonlocal started
            bar.update(task, description=f"{title}: {name}", advance=1 if started else 0)
            started = True

        yield step


def matrix_row(result: TargetResult) -> tuple[str, ...]:
    """One target as text."""
    f = result.figures
    ram = None if f is None else f.arena_bytes + (f.static_ram_bytes or 0) + (f.stack_bytes or 0)
    return (
        result.target,
        result.rounding or "",
        result.status,
        f"{result.bytes_different:,} of {result.bytes_compared:,}" if result.bytes_compared else "",
        f"{result.accuracy:.1%} of {result.accuracy_clips}" if result.accuracy is not None else "",
        f"{result.float_agreement:.1%}" if result.float_agreement is not None else "",
        f"{f.flash_bytes:,}" if f and f.flash_bytes else "",
        f"{ram:,}" if ram else "",
        f"{f.instructions / 1e6:,.1f} M" if f and f.instructions else "",
    )


def print_verification(verification: Verification) -> None:
    """The matrix, then every difference, exception and skip in words."""
    console = Console()
    if not console.is_terminal:  # a log has no width: nothing is cut
        console = Console(width=LOG_WIDTH)
    table = Table(title=f"verification of {verification.graph}")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("target", "rule", "verdict") else "right", overflow="fold")
    for result in verification.results:
        table.add_row(*matrix_row(result), style=STYLES[result.status])
    console.print(table)
    if verification.float_accuracy is not None:
        console.print(f"float accuracy {verification.float_accuracy:.1%} on {verification.data}")
    for result in verification.results:
        for text in (*result.exceptions, result.note, str(result.first_difference or "")):
            if text:
                console.print(f"{result.target}: {text}", highlight=False, soft_wrap=True)
