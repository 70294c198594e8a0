"""What of tinyscene works on this machine, and what to install for the rest.

Looks for packages and tools without importing or running them; the one exception is a compiler, which prints the path
of its C library. It is part of this package because the targets are. Refuses nothing: a tool or package that is missing
is a finding.
"""

from __future__ import annotations

import platform
import shutil
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

from .build.targets import TARGETS, Target
from .build.tools import has_library

DETAIL_COLUMNS = 80
Kind = Literal["machine", "engine", "extra", "environment", "target", "compiler"]
TITLES: dict[Kind, str] = {
    "machine": "This machine",
    "engine": "Engines for tinyscene run and bench",
    "extra": "Extras",
    "environment": "Engines of tinyscene verify in environments of their own",
    "target": "Targets for tinyscene firmware",
    "compiler": "Other compilers, for the tests",
}
# Packages that tinyscene uses in a process of their own, so that an environment in the cache serves as well.
OWN_PROCESS = {"tensorflow"}
# Environments in the cache by their distribution: the name by which the command below creates it.
ENVIRONMENTS = {"tflite-runtime": "tflite_runtime", "tosa-converter-for-tflite": "tosa", "web": "web"}
CREATE = "python -m tinyscene.export.targets.environments"


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
    """All findings: this machine, engines, extras, environments, targets, other compilers."""
    targets = (_target(target) for target in TARGETS.values())
    return [*_machine(), *_engines(), *extras(declared_extras()), *_environments(), *targets, *_other_compilers()]


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


def _environments() -> Iterator[Finding]:
    """A finding for each environment that no extra has."""
    for distribution, name in ENVIRONMENTS.items():
        folders = complete_environments(distribution)
        if folders:
            yield Finding("environment", name, True, str(folders[-1]))
        else:
            yield Finding("environment", name, False, "not created", f"{CREATE} {name}")


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
    """Compiler, C library, and emulator or runtime of one target."""
    lacking = list(_lacking(target))
    if not lacking:
        return Finding("target", target.name, True, target.title)
    packages = dict.fromkeys(package for _, package in lacking if not package.startswith("pip "))
    commands = [f"apt install {' '.join(packages)}"] if packages else []
    commands += [command for _, command in lacking if command.startswith("pip ")]
    names = ", ".join(name for name, _ in lacking)
    return Finding("target", target.name, False, f"{target.title}; not installed: {names}", " && ".join(commands))


def _lacking(target: Target) -> Iterator[tuple[str, str]]:
    """What a target lacks, and its Debian package or the command of pip that installs it."""
    toolchain, emulator, runtime = target.toolchain, target.emulator, target.runtime
    compiler = shutil.which(target.compiler)
    if compiler is None:
        yield target.compiler, toolchain.package
    elif not has_library(compiler, toolchain):
        yield "its C library", toolchain.package
    if toolchain.linker and shutil.which(toolchain.linker) is None:
        yield toolchain.linker, toolchain.package
    if emulator is not None and shutil.which(emulator.command) is None:
        yield emulator.command, emulator.package
    if runtime is not None and runtime.tool and shutil.which(runtime.tool) is None:
        yield runtime.tool, runtime.package
    if runtime is not None and runtime.module and installed_version(runtime.module) is None:
        yield runtime.module, install_hint(runtime.extra)


def _record(row: Finding) -> FindingRecord:
    return FindingRecord(kind=row.kind, name=row.name, works=row.works, detail=row.detail, install=row.install)
