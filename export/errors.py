"""The exception of the ``export`` package."""

from __future__ import annotations

from runtime.errors import TinysceneError


class ExportError(TinysceneError):
    """A model that cannot be folded, quantised, lowered, written or read; says which layer and why."""


def unreadable(where: str, kind: str, n_bytes: int, problem: Exception) -> ExportError:
    """The refusal of a file that is not what its name says."""
    reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:160]
    return ExportError(
        where, f"not a readable {kind} file", got=f"{n_bytes:,} bytes, {reason}", next_step="export it again"
    )
