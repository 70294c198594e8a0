"""What of tinyscene works on this machine, and what to install for the rest.

Looks for packages and tools without importing or running them, but for a compiler that is asked for its C library.
Stands here because this package knows the targets and may ask ``runtime`` for its engines; of the extras it knows what
the installed package's own metadata says. Refuses nothing: what cannot be told is left out.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

from tinyscene.runtime.engines import available_engines

from .build.targets import TARGETS, Target, Toolchain

DETAIL_COLUMNS = 80
Kind = Literal["machine", "engine", "extra", "target"]


@dataclass(frozen=True)
class Finding:
    """One thing that works or does not. ``install`` is the command that would help; empty when it works."""

    kind: Kind
    name: str
    works: bool
    detail: str
    install: str = ""


def findings() -> list[Finding]:
    """Everything there is to say, machine first."""
    return [*_machine(), *_engines(), *extras(_requirements()), *(_target(target) for target in TARGETS.values())]


def lines(found: Sequence[Finding]) -> Iterator[str]:
    """The findings for people: a line each, grouped, and what to install below."""
    titles: dict[Kind, str] = {
        "machine": "This machine",
        "engine": "Engines for tinyscene run and bench",
        "extra": "Extras",
        "target": "Targets for tinyscene firmware",
    }
    width = max(len(one.name) for one in found)
    for kind, title in titles.items():
        rows = [one for one in found if one.kind == kind]
        if rows:
            yield title
        for one in rows:
            detail = textwrap.shorten(one.detail, DETAIL_COLUMNS, placeholder=" ...")
            yield f"  {'ok     ' if one.works else 'missing'}  {one.name:<{width}}  {detail}".rstrip()
    wanted = list(dict.fromkeys(one.install for one in found if one.install))
    if wanted:
        yield "For the rest"
    for command in wanted:
        yield f"  {command}"


def as_json(found: Sequence[Finding]) -> dict[str, Any]:
    return {"findings": [asdict(one) for one in found]}


def extras(requirements: Sequence[str], version: Callable[[str], str | None] | None = None) -> list[Finding]:
    """A finding per extra, from requirements as a wheel's metadata writes them.

    Args:
        requirements: such as ``torch>=2.6; extra == "train"``.
        version: gives an installed distribution's version or None; the environment's own by default.
    """
    installed = version or _version
    by_extra: dict[str, list[str]] = {}
    for requirement in requirements:
        said, _, marker = requirement.partition(";")
        named = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        if named and _is_for_this_machine(marker):
            by_extra.setdefault(named[1], []).append(said.strip())
    return [_extra(name, _flat(name, by_extra), installed) for name in by_extra]


def _extra(name: str, distributions: Sequence[str], installed: Callable[[str], str | None]) -> Finding:
    missing = [distribution for distribution in distributions if installed(distribution) is None]
    if missing:
        return Finding("extra", name, False, f"without {', '.join(missing)}", f"pip install 'tinyscene[{name}]'")
    return Finding("extra", name, True, ", ".join(f"{one} {installed(one)}" for one in distributions))


def _flat(extra: str, by_extra: dict[str, list[str]]) -> list[str]:
    """Names of an extra's distributions; those of another extra that it takes in come first."""
    names: list[str] = []
    for said in by_extra.get(extra, []):
        taken_in = re.match(r"tinyscene\[([\w-]+)\]", said)
        if taken_in:
            names += _flat(taken_in[1], by_extra)
        elif found := re.match(r"[\w.-]+", said):
            names.append(found[0])
    return names


def _is_for_this_machine(marker: str) -> bool:
    """Whether the markers that pyproject.toml uses let a requirement be installed here."""
    here = {"sys_platform": sys.platform, "platform_machine": platform.machine()}
    return all(name not in marker or value in marker for name, value in here.items())


def _machine() -> Iterator[Finding]:
    supported = sys.version_info >= (3, 11)
    yield Finding("machine", "python", supported, f"{platform.python_version()} on {platform.machine()}")
    version = _version("tinyscene")
    yield Finding("machine", "tinyscene", True, version or "not installed, run from its folder")


def _engines() -> Iterator[Finding]:
    for name, problem in available_engines().items():
        why, _, install = problem.partition(": ")
        yield Finding("engine", name, not problem, why, install)


def _target(target: Target) -> Finding:
    """Compiler, C library and emulator of one target."""
    missing, packages = [], []
    compiler = shutil.which(target.compiler)
    if compiler is None or not _has_library(compiler, target.toolchain):
        missing.append(target.compiler if compiler is None else "its C library")
        packages.append(target.toolchain.package)
    if target.emulator is not None and shutil.which(target.emulator.command) is None:
        missing.append(target.emulator.command)
        packages.append(target.emulator.package)
    if missing:
        install = f"apt install {' '.join(packages)}"
        return Finding("target", target.name, False, f"{target.title}; without {', '.join(missing)}", install)
    return Finding("target", target.name, True, target.title)


def _has_library(compiler: str, toolchain: Toolchain) -> bool:
    """A compiler that lacks a file of its library prints the bare name."""
    specs = [flag.removeprefix("--specs=") for flag in toolchain.flags if flag.startswith("--specs=")]
    wanted = specs[0] if specs else "libc.a"
    answer = subprocess.run([compiler, f"-print-file-name={wanted}"], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() != wanted


def _requirements() -> list[str]:
    try:
        return metadata.requires("tinyscene") or []
    except metadata.PackageNotFoundError:
        return []


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
