"""The one failure of the ``training`` package; see ``runtime.errors`` for its form."""

from __future__ import annotations

from runtime.errors import TinysceneError


class TrainingError(TinysceneError):
    """Raised by the ``training`` package only."""
