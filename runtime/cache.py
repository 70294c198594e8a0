"""The cache folder for data that can be created again: environments, measured instruction counts."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$TINYSCENE_CACHE, or ``tinyscene`` in the user's cache; it need not exist yet."""
    folder = os.environ.get("TINYSCENE_CACHE")
    return Path(folder) if folder else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tinyscene"
