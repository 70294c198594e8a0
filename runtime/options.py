"""Options that several commands have: the same thing has the same name, letter for letter, wherever it is asked for.

``docs/commands.md`` lists them. Names that a shell can complete are held here too, where more than one command takes
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from .engine_names import ENGINE_NAMES
from .errors import RuntimeFailure
from .terminal import set_quiet


def one_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Completes one of these names."""
    known = list(names)

    def completed(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return completed


def some_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Completes the last of several names with commas between them."""
    known = list(names)

    def completed(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{name}" for name in known if name.startswith(last) and name not in taken]

    return completed


def quietened(quiet: bool) -> bool:
    """The callback of every ``--quiet``."""
    set_quiet(quiet)
    return quiet


def in_a_folder(path: Path | None) -> Path | None:
    """The callback of options that name a file to write: refused before minutes of work, not after them.

    Raises:
        RuntimeFailure: its folder is not there.
    """
    if path is not None and not path.parent.is_dir():
        raise RuntimeFailure(str(path), "cannot be written", got="no such folder", next_step=f"make {path.parent}")
    return path


BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no notes.", callback=quietened)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Engine = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"{', '.join(ENGINE_NAMES)}.", autocompletion=one_of(ENGINE_NAMES)),
]
RecordFile = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the JSON document to a file.", callback=in_a_folder),
]
ReportFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE.html", help="Write one page with everything.", callback=in_a_folder),
]
MarkdownFile = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write a summary in Markdown.", callback=in_a_folder),
]
