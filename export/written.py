"""Files that a command was asked to write: whole or not at all, and refused before the work when there is no folder."""

from __future__ import annotations

from pathlib import Path

from training.files import written_whole

from .errors import ExportError


def require_folders(*files: Path | None) -> None:
    """Raise ExportError for a file whose folder is not there; for the time before minutes of work, not after them."""
    for path in files:
        if path is not None and not path.parent.is_dir():
            raise ExportError(str(path), "cannot be written", got="no such folder", next_step=f"make {path.parent}")


def write_file(path: Path, content: bytes) -> None:
    """Write it; raises ExportError when it cannot be."""
    require_folders(path)
    try:
        with written_whole(path) as temporary:
            temporary.write_bytes(content)
    except OSError as problem:
        raise ExportError(str(path), "cannot be written", got=problem.strerror or type(problem).__name__) from None
