"""The exception of this package."""

from __future__ import annotations

from tinyscene.runtime.errors import TinysceneError


class FirmwareError(TinysceneError):
    """A model that cannot become firmware, a missing tool, a failed build or a failed run."""
