"""Reads the import statements of the packages with `ast`: who imports what, on which line, at the top or in a function.

Imports under ``if TYPE_CHECKING:`` never run and are left out. Names given to ``importlib`` are not seen; the command
table, the face of the library, the engines and the microphone load by name.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = "tinyscene"
PACKAGES = ("runtime", "training", "firmware_harness", "export")


@dataclass(frozen=True)
class Import:
    """One import statement. ``module`` is absolute: ``tinyscene.runtime`` for ``from ..`` in a file of a wing there."""

    module: str
    names: tuple[str, ...]  # empty for ``import module``
    line: int
    relative: bool
    in_function: bool


def imports_of(path: Path, package: tuple[str, ...]) -> Iterator[Import]:
    """Yield the imports of a file that lies in ``package``, such as ``("tinyscene", "export", "verify")``."""
    yield from imports_in(path.read_text(), package)


def imports_in(source: str, package: tuple[str, ...] = ()) -> Iterator[Import]:
    """Yield the imports of a source text; ``package`` is what its relative imports start from."""
    for node, in_function in _statements(ast.parse(source), in_function=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno, relative=False, in_function=in_function)
        else:
            names = tuple(alias.name for alias in node.names)
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield Import(module, names, node.lineno, relative=node.level > 0, in_function=in_function)


def _statements(node: ast.AST, *, in_function: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, in_function
        elif isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for statement in child.orelse:
                yield from _statements(statement, in_function=in_function)
        else:
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _statements(child, in_function=inside)


def source_files(root: Path) -> dict[str, Path]:
    """Return every Python file of the packages and of ``tinyscene/`` itself, by its import name."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    files = {_module((PROJECT, *path.relative_to(root).with_suffix("").parts)): path for path in paths}
    own = sorted((root / PROJECT).glob("*.py"))
    return files | {_module((PROJECT, path.stem)): path for path in own}


def _module(parts: tuple[str, ...]) -> str:
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str, path: Path) -> tuple[str, ...]:
    """Return the package that a file's relative imports start from."""
    parts = tuple(module.split("."))
    return parts if path.name == "__init__.py" else parts[:-1]


def imported_files(module: str, files: Mapping[str, Path]) -> Iterator[tuple[str, Import]]:
    """Yield the modules of the project that a module imports: ``from ..fit import fit`` is ``training.fit.fit``."""
    for found in imports_of(files[module], package_of(module, files[module])):
        targets = {f"{found.module}.{name}" for name in found.names} & set(files)
        if not targets or len(targets) < len(found.names):
            targets |= {found.module} & set(files)
        for target in sorted(targets):
            yield target, found


def import_circles(files: Mapping[str, Path]) -> list[list[str]]:
    """Return the groups of files that import one another: the strongly connected components of more than one file."""
    after = {module: {target for target, _ in imported_files(module, files)} - {module} for module in files}
    reached = {module: _reachable(module, after) for module in files}
    circles = {tuple(sorted(m for m in reached[module] if module in reached[m])) for module in files}
    return sorted([*circle] for circle in circles if len(circle) > 1)


def _reachable(start: str, after: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [*after[start]]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(after[module])
    return seen


def unresolved(source: str) -> list[str]:
    """Return the names that a source text imports from this project and that do not exist."""
    problems = []
    for found in imports_in(source):
        if found.module.partition(".")[0] != PROJECT:
            continue
        try:
            module = importlib.import_module(found.module)
        except ModuleNotFoundError as failure:
            problems.append(f"line {found.line}: {failure}")
            continue
        missing = [n for n in found.names if not hasattr(module, n) and not _importable(f"{found.module}.{n}")]
        problems += [f"line {found.line}: {found.module} has no {name}" for name in missing]
    return problems


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    return True
