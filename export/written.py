"""Files that a command was asked to write: whole or not at all."""

from __future__ import annotations

from pathlib import Path

from training.files import written_whole

from .errors import ExportError


def write_file(path: Path, content: bytes) -> None:
    """Write it; raises ExportError when it cannot be."""
    try:
        with written_whole(path) as temporary:
            temporary.write_bytes(content)
    except OSError as problem:
        raise ExportError(str(path), "cannot be written", got=problem.strerror or type(problem).__name__) from None
