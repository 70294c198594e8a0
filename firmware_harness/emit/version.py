"""The version of tinyscene as macros of emitted C; c/ts_version.h has the same for the hand-written C."""

from __future__ import annotations

import re

from tinyscene import __version__


def version_macros(prefix: str) -> list[tuple[str, str]]:
    """Macro names, beginning with ``prefix``, and values: the version as a string, and its three numbers."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", __version__)
    assert numbers is not None
    name = f"{prefix}TINYSCENE_VERSION"
    parts = zip(("MAJOR", "MINOR", "PATCH"), numbers.groups(), strict=True)
    return [(name, f'"{__version__}"'), *((f"{name}_{part}", number) for part, number in parts)]
