"""The command that installs an optional part of tinyscene in the environment at hand.

tinyscene is not on the package index, so ``pip install 'tinyscene[mic]'`` fails. In a clone and in an editable install
the hint installs the clone with the extra; an installed wheel gets the packages of the extra that are missing, from the
wheel's own metadata. Refuses names of extras that pyproject.toml does not define.
"""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import tinyscene

BASE = ""  # the requirements without any extra
_NAME = re.compile(r"[\w.-]+")
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_OWN_EXTRA = re.compile(r"tinyscene\[([\w,-]+)\]")


def install_hint(extra: str = BASE) -> str:
    """The ``pip install`` command for an extra, or for the base requirements; it works from any folder.

    Raises:
        KeyError: no such extra.
    """
    extras = declared_extras()
    if not extras:  # the folder was copied to a path by hand, as for worker processes
        return f"install the packages of the extra '{extra}' in tinyscene's pyproject.toml"
    requirements, clone = extra_requirements(extra, extras), clone_folder()
    if clone is not None:
        return f"pip install -e {shlex.quote(f'{clone}[{extra}]' if extra else str(clone))}"
    missing = [each for each in requirements if installed_version(distribution_name(each)) is None]
    return f"pip install {shlex.join(missing or requirements)}"


def clone_folder() -> Path | None:
    """The root of the clone that this process imports tinyscene from; None for an installed wheel."""
    root = Path(tinyscene.__file__).resolve().parents[1]
    file = root / "pyproject.toml"
    return root if file.is_file() and 'name = "tinyscene"' in file.read_text(encoding="utf-8") else None


def declared_extras() -> dict[str, tuple[str, ...]]:
    """Requirements by extra as pyproject.toml or the wheel's metadata declares them; :data:`BASE` is the base install.

    Empty where tinyscene was copied without its metadata.
    """
    clone = clone_folder()
    if clone is not None:
        import tomllib

        project = tomllib.loads((clone / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = {BASE: project["dependencies"], **project["optional-dependencies"]}
        return {name: tuple(filter(_for_this_machine, requirements)) for name, requirements in extras.items()}
    from importlib import metadata

    try:
        return extras_of_metadata(metadata.requires("tinyscene") or ())
    except metadata.PackageNotFoundError:
        return {}


def extras_of_metadata(requirements: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Requirements by extra, from lines such as ``torch>=2.6; extra == "train"``; other machines' are left out."""
    by_extra: dict[str, list[str]] = {BASE: []}
    for line in filter(_for_this_machine, requirements):
        requirement, _, marker = line.partition(";")
        extra = _EXTRA.search(marker)
        by_extra.setdefault(extra[1] if extra else BASE, []).append(requirement.strip())
    return {name: tuple(each) for name, each in by_extra.items()}


def extra_requirements(extra: str, extras: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Requirements of an extra without markers; those of an extra that it includes come first.

    Raises:
        KeyError: no such extra.
    """
    flat: list[str] = []
    for line in extras[extra]:
        requirement = line.partition(";")[0].strip()
        included = _OWN_EXTRA.match(requirement)
        names = included[1].split(",") if included else ()
        flat += [each for name in names for each in extra_requirements(name, extras)] if included else [requirement]
    return tuple(dict.fromkeys(flat))


def distribution_name(requirement: str) -> str:
    """``torch`` of ``torch>=2.6``."""
    name = _NAME.match(requirement)
    return name[0] if name else requirement


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, without importing it; None when it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _for_this_machine(requirement: str) -> bool:
    """Whether the markers that pyproject.toml uses select a requirement for this system and processor."""
    marker = requirement.partition(";")[2]
    here = {"sys_platform": sys.platform, "platform_machine": platform.machine()}
    return all(name not in marker or value in marker for name, value in here.items())
