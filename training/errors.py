"""The one failure of the ``training`` package; see ``tinyscene.runtime.errors`` for its form."""

from __future__ import annotations

from tinyscene.runtime.errors import TinysceneError


class TrainingError(TinysceneError):
    """Raised by the ``training`` package only."""
