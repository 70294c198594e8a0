"""What of tinyscene works on this machine, and what to install for the rest.

Looks for packages and tools without importing or running them; the one exception is a compiler, which prints the path
of its C library. It is part of this package because the targets are. Refuses nothing: a tool or package that is missing
is a finding.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from tinyscene.runtime.cache import complete_environments
from tinyscene.runtime.engines import available_engines
from tinyscene.runtime.install_hint import (
    BASE,
    declared_extras,
    distribution_name,
    extra_requirements,
    install_hint,
    installed_version,
)

from .build.targets import TARGETS, Target, Toolchain

DETAIL_COLUMNS = 80
Kind = Literal["machine", "engine", "extra", "target", "compiler"]
TITLES: dict[Kind, str] = {
    "machine": "This machine",
    "engine": "Engines for tinyscene run and bench",
    "extra": "Extras",
    "target": "Targets for tinyscene firmware",
    "compiler": "Other compilers, for the tests",
}
# Packages that tinyscene uses in a process of their own, so that an environment in the cache serves as well.
OWN_PROCESS = {"tensorflow"}


@dataclass(frozen=True)
class Finding:
    """One part of tinyscene that works or does not. ``install``: the command that helps; empty when it works."""

    kind: Kind
    name: str
    works: bool
    detail: str
    install: str = ""


class FindingRecord(TypedDict):
    """A finding in the JSON document."""

    kind: str
    name: str
    works: bool
    detail: str
    install: str


class DoctorRecord(TypedDict):
    """The JSON document of ``tinyscene doctor``."""

    findings: list[FindingRecord]


def findings() -> list[Finding]:
    """All findings: this machine, engines, extras, targets, other compilers."""
    targets = (_target(target) for target in TARGETS.values())
    return [*_machine(), *_engines(), *extras(declared_extras()), *targets, *_other_compilers()]


def lines(rows: Sequence[Finding]) -> Iterator[str]:
    """The findings as text: a line each under the title of its kind, then the commands to install what is missing."""
    width = max(len(row.name) for row in rows)
    for kind, title in TITLES.items():
        of_kind = [row for row in rows if row.kind == kind]
        if of_kind:
            yield title
        for row in of_kind:
            detail = textwrap.shorten(row.detail, DETAIL_COLUMNS, placeholder=" ...")
            yield f"  {'ok     ' if row.works else 'missing'}  {row.name:<{width}}  {detail}".rstrip()
    commands = list(dict.fromkeys(row.install for row in rows if row.install))
    if commands:
        yield "To install what is missing"
    for command in commands:
        yield f"  {command}"


def as_json(rows: Iterable[Finding]) -> DoctorRecord:
    """The findings as the document of ``--json``."""
    return {"findings": [_record(row) for row in rows]}


def extras(
    declared: Mapping[str, Iterable[str]], version: Callable[[str], str | None] = installed_version
) -> list[Finding]:
    """A finding per extra that has requirements.

    Args:
        declared: requirements by extra, as :func:`tinyscene.runtime.install_hint.declared_extras` gives them.
        version: gives an installed distribution's version or None; the environment's own by default.
    """
    flat = {name: extra_requirements(name, declared) for name in declared if name != BASE}
    return [_extra(name, requirements, version) for name, requirements in flat.items() if requirements]


def _extra(name: str, requirements: Sequence[str], version: Callable[[str], str | None]) -> Finding:
    versions = {each: _version_or_cached(each, version) for each in map(distribution_name, requirements)}
    missing = [distribution for distribution, installed in versions.items() if installed is None]
    if missing:
        return Finding("extra", name, False, f"not installed: {', '.join(missing)}", install_hint(name))
    return Finding("extra", name, True, ", ".join(f"{each} {installed}" for each, installed in versions.items()))


def _version_or_cached(distribution: str, version: Callable[[str], str | None]) -> str | None:
    installed = version(distribution)
    if installed is None and distribution in OWN_PROCESS:
        for folder in complete_environments(distribution):
            installed = f"{folder.name.removeprefix(f'{distribution}-')} (in an environment of its own, {folder})"
    return installed


def _machine() -> Iterator[Finding]:
    supported = sys.version_info >= (3, 11)
    yield Finding("machine", "python", supported, f"{platform.python_version()} on {platform.machine()}")
    yield Finding(
        "machine", "tinyscene", True, installed_version("tinyscene") or "not installed, imported from its folder"
    )


def _other_compilers() -> Iterator[Finding]:
    """Clang and its linker, which the tests compile exported products with; not needed for a target."""
    for tool, package in (("clang", "clang"), ("ld.lld", "lld")):
        path = shutil.which(tool)
        detail = path or "not installed; needed by tests only"
        yield Finding("compiler", tool, path is not None, detail, "" if path else f"apt install {package}")


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
        return Finding("target", target.name, False, f"{target.title}; not installed: {', '.join(missing)}", install)
    return Finding("target", target.name, True, target.title)


def _has_library(compiler: str, toolchain: Toolchain) -> bool:
    """Whether the compiler finds its C library; for a file that it lacks, it prints the bare name."""
    specs = [flag.removeprefix("--specs=") for flag in toolchain.flags if flag.startswith("--specs=")]
    library = specs[0] if specs else "libc.a"
    printed = subprocess.run([compiler, f"-print-file-name={library}"], capture_output=True, text=True, check=False)
    return printed.returncode == 0 and printed.stdout.strip() != library


def _record(row: Finding) -> FindingRecord:
    return FindingRecord(kind=row.kind, name=row.name, works=row.works, detail=row.detail, install=row.install)
