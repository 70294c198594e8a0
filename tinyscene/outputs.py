"""Outputs of a command, compared with its inputs before it starts.

Refuses an output that is an input under any name, a file inside a folder that is read, and one place for two results.
The places inside a folder, such as those of a run, are the affair of whoever writes them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from .runtime.files import require_different_files, require_other_file

Result = TypeVar("Result")
OUTPUTS = ("out", "report", "markdown", "junit", "svg", "write_baseline")  # parameters that name what is written


def guarded(command: Callable[..., Result]) -> Callable[..., Result]:
    """The command, which raises RuntimeFailure where an output is an input or another output."""

    @functools.wraps(command)
    def checked(**values: object) -> Result:
        outputs = [path for name in OUTPUTS if isinstance(path := values.get(name), Path)]
        require_different_files(*outputs)
        for output in outputs:
            require_other_file(output, *_inputs(values))
        return command(**values)

    return checked


def _inputs(values: Mapping[str, object]) -> Iterator[Path]:
    """Paths that are read; a text is one if it names a file, as that of a recipe may."""
    for name, value in values.items():
        if name in OUTPUTS:
            continue
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, Path) or (isinstance(each, str) and _is_file(each)):
                yield Path(each)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False
