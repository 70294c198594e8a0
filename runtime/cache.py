"""Where things are kept between runs that can be made again: environments, measured counts."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$TINYSCENE_CACHE, or ``tinyscene`` in the user's cache; it need not exist yet."""
    named = os.environ.get("TINYSCENE_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tinyscene"
