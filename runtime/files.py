"""Files and folders that are there whole or not at all: made beside their name and renamed, one temporary name per
process. Refuses to replace a folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import RuntimeFailure


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields where to write what becomes ``path`` when the block ends; nothing stays if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_whole(path: Path) -> Iterator[Path]:
    """Yields where to make the folder that becomes ``path`` when the block ends; raises RuntimeFailure if it exists."""
    if path.exists():
        raise RuntimeFailure(str(path), "already exists", next_step="remove it or give another folder")
    temporary = _beside(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.part")


def write_file(path: Path, content: bytes) -> None:
    """Write a file that a command was asked for; raises RuntimeFailure when it cannot be written."""
    try:
        with written_whole(path) as temporary:
            temporary.write_bytes(content)
    except OSError as problem:
        raise RuntimeFailure(str(path), "cannot be written", got=problem.strerror or type(problem).__name__) from None


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON file."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
