"""The refusal of a format whose package the base install does not have, with the command that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tinyscene.runtime.install_hint import install_hint

from ..errors import ExportError

EXTRA = "export"


@contextmanager
def needs_export(where: str) -> Iterator[None]:
    """Raise ExportError with ``where`` and the extra to install for a package that cannot be imported inside."""
    try:
        yield
    except ModuleNotFoundError as problem:
        if problem.name is None or problem.name.partition(".")[0] == "tinyscene":
            raise
        raise ExportError(
            where,
            f"needs the Python package {problem.name} of the extra '{EXTRA}', which is not installed",
            next_step=install_hint(EXTRA),
            missing=True,
        ) from problem
