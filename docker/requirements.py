"""Print the requirements of pyproject.toml and of the given extras, one per line.

An image installs these before it copies the sources, which change more often.

    python requirements.py PYPROJECT [EXTRA...]
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path


def requirements(project: dict, extras: list[str]) -> Iterator[str]:
    """Yield the base requirements, then those of each extra; an extra may name others, as in ``tinyscene[train]``."""
    yield from project["dependencies"]
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            itself = re.fullmatch(rf"{project['name']}\[(.+)\]", requirement)
            yield from requirements(project, itself[1].split(",")) if itself else [requirement]


if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
    print("\n".join(dict.fromkeys(requirements(project, sys.argv[2:]))))
