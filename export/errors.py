"""The exception of the ``export`` package."""

from __future__ import annotations

from runtime.errors import TinysceneError


class ExportError(TinysceneError):
    """A model that cannot be folded, quantised, lowered, written or read; says which layer and why."""
