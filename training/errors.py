"""The exception of the ``training`` package; :mod:`tinyscene.runtime.errors` describes its form."""

from __future__ import annotations

from tinyscene.runtime.errors import TinysceneError


class TrainingError(TinysceneError):
    """Raised by the ``training`` package only."""
