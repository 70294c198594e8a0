"""The exception of the ``export`` package, and refusals that several of its readers share."""

from __future__ import annotations

from tinyscene.runtime.errors import TinysceneError


class ExportError(TinysceneError):
    """A model cannot be folded, quantised, lowered, written or read; the message names the layer and the reason."""


def unreadable(where: str, kind: str, n_bytes: int, problem: Exception) -> ExportError:
    """The refusal of a file whose content is not of the kind that its name ends in."""
    reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:160]
    return ExportError(
        where,
        f"not a readable {kind} file",
        got=f"{n_bytes:,} bytes, {reason}",
        next_step="check that the file is complete, for example by its size or checksum",
    )


def no_counting_rule(where: str, name: str, op: str) -> ExportError:
    """The refusal of an operator that the published rules do not cover, instead of counting it as zero."""
    return ExportError(f"{where}, '{name}'", f"{op} has no counting rule", unsupported=True)
