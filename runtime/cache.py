"""The cache folder for data that can be created again: Python environments, measured instruction counts."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT_COMPLETE = "complete"  # a file in the folder of an environment whose installation finished


def cache_folder() -> Path:
    """$TINYSCENE_CACHE, or ``tinyscene`` in the user's cache; it need not exist yet."""
    folder = os.environ.get("TINYSCENE_CACHE")
    return Path(folder) if folder else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tinyscene"


def environment_folder(requirement: str) -> Path:
    """Folder of the Python environment for a package, such as ``tensorflow==2.21.0``; it need not exist yet."""
    return cache_folder() / requirement.replace("==", "-")


def complete_environments(distribution: str) -> list[Path]:
    """Every complete environment for a package in the cache, whatever its version."""
    return [mark.parent for mark in sorted(cache_folder().glob(f"{distribution}-*/{ENVIRONMENT_COMPLETE}"))]
