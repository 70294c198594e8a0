"""The exception of the ``export`` package."""

from __future__ import annotations

from tinyscene.runtime.errors import TinysceneError


class ExportError(TinysceneError):
    """A model that cannot be folded, quantised, lowered, written or read; says which layer and why."""


def unreadable(where: str, kind: str, n_bytes: int, problem: Exception) -> ExportError:
    """The refusal of a file that is not what its name says."""
    reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:160]
    return ExportError(
        where, f"not a readable {kind} file", got=f"{n_bytes:,} bytes, {reason}", next_step="export it again"
    )


def require_counted(where: str, name: str, op: str, uncounted: set[str]) -> None:
    """Refuse operators for which the published rules have no row, instead of counting them as nothing."""
    if op in uncounted:
        raise ExportError(f"{where}, '{name}'", f"{op} has no counting rule", next_step="count this model by hand")
