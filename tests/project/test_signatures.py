"""Functions take few arguments: options that belong together travel as one frozen record."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

AT_MOST = 7  # without self and cls; keyword-only arguments count
FOLDERS = ("training", "export", "firmware_harness")
CARRY_RESUME = 2  # functions with an argument called resume; all others take a Run


def functions(repository: Path, folder: str) -> Iterator[tuple[str, list[str]]]:
    """Every function of a folder as path:name, and the names of its arguments."""
    for path in sorted((repository / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                names = [argument.arg for argument in every if argument.arg not in ("self", "cls")]
                yield f"{path.relative_to(repository).as_posix()}:{node.name}", names


@pytest.mark.parametrize("folder", FOLDERS)
def test_functions_take_few_arguments(folder: str, repository: Path) -> None:
    assert {name: len(names) for name, names in functions(repository, folder) if len(names) > AT_MOST} == {}


def test_few_functions_carry_resume(repository: Path) -> None:
    carriers = [name for folder in FOLDERS for name, names in functions(repository, folder) if "resume" in names]
    assert len(carriers) <= CARRY_RESUME, carriers
