"""Options and arguments that several commands share, with their help and shell completion.

``docs/commands.md`` lists them. An option that one command alone takes is defined with that command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from .engine_names import ENGINE_NAMES
from .errors import RuntimeFailure
from .file_names import MANIFEST
from .files import place_of_file
from .terminal import set_quiet

if TYPE_CHECKING:
    from .model import Model


class ModelOpener(Protocol):
    """Opens a model of any kind; the command table passes it in, since runtime and firmware read no file format."""

    def __call__(self, path: Path, /) -> Model: ...


def one_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Shell completion of one of these names."""
    known = list(names)

    def complete(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return complete


def some_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Shell completion of the last of several comma-separated names; names that are already given are left out."""
    known = list(names)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [f"{before}{comma}{name}" for name in known if name.startswith(last) and name not in given]

    return complete


def quietened(quiet: bool) -> bool:
    """The callback of every ``--quiet``: no progress and no notes in this process."""
    set_quiet(quiet)
    return quiet


def file_to_write(begins: str = "") -> Callable[[Path | None], Path | None]:
    """The callback of an option that names a file to write, which is refused before the work and not after it.

    ``begins``: what an existing file must begin with to be replaced (:func:`tinyscene.runtime.files.place_of_file`).
    """

    def checked(path: Path | None) -> Path | None:
        if path is not None:
            _require_folder(path)
            place_of_file(path, begins.encode())
        return path

    return checked


def _require_folder(path: Path) -> None:
    what = "cannot be written"
    if path.parent.exists() and not path.parent.is_dir():
        step = "choose another path"
        raise RuntimeFailure(str(path), what, got=f"{path.parent} is not a folder", next_step=step)
    if not path.parent.is_dir():
        raise RuntimeFailure(str(path), what, got="no such folder", next_step=f"create {path.parent}")
    if not os.access(path.parent, os.W_OK):
        step = "change its permissions, or use another path"
        raise RuntimeFailure(str(path), what, got=f"permission denied in {path.parent}", next_step=step)
    if (path.parent / MANIFEST).is_file():
        got = f"{path.parent} is a bundle, which is refused if it has other files"
        raise RuntimeFailure(str(path), what, got=got, next_step="choose another folder")


MAX_SEED = 2**32 - 1  # times 1,000,003, as the training multiplies it, it fits 64 bits
MAX_COUNT = 1_000_000  # of clips, epochs, rows: more than any run uses, and no risk to the memory

MODELS = "A bundle, or an int8 .tflite or .onnx file."
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help=MODELS, show_default=False)]
FrontEndName = Annotated[
    str | None,
    typer.Option("--frontend", metavar="NAME", help="Front end of a file without one: a preset, or FILE.json."),
]
LabelsFile = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="Labels of a file without them, one per line.")
]
InputsPath = Annotated[
    Path | None,
    typer.Option("--inputs", metavar="PATH", help="Network inputs: FILE.npy, .npz of several, or a folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress and no notes.", callback=quietened)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Engine = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"{', '.join(ENGINE_NAMES)}.", autocompletion=one_of(ENGINE_NAMES)),
]
RecordFile = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the JSON document to this file.", callback=file_to_write("{")),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE.html", help="Write one self-contained HTML page.", callback=file_to_write("<")
    ),
]
MarkdownFile = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write a summary in Markdown.", callback=file_to_write("#")),
]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file made elsewhere does not have, and a bundle has."""

    frontend: FrontEndName = None
    labels: LabelsFile = None

    def of(self, model: Model) -> Model:
        """The model with front end and labels; raises RuntimeFailure as :func:`tinyscene.runtime.model.described`."""
        from .model import described

        return described(model, self.frontend, self.labels)
