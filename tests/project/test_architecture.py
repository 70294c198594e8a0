"""docs/architecture.md names files that exist, along the imports, and shows the table of the layering test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

import tinyscene
from tests.project.imports import PACKAGES, imported_files, source_files
from tests.project.test_layering import TABLE, Row

ROOT = Path(tinyscene.__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PATHS = (
    "From samples to a label",
    "From a recipe to a student",
    "From a checkpoint to a bundle",
    "From a graph to an image",
)
FILE = re.compile(r"`([\w/]+/(?:[\w.]+\.(?:py|c|h))?)`")


def _section(title: str) -> str:
    (text,) = re.findall(rf"^### {title}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return text


def _steps(title: str) -> list[str]:
    return re.findall(r"^\d+\. (.*)$", _section(title), re.MULTILINE)


def missing_files(text: str, root: Path) -> list[str]:
    """Return the files and folders that a text names in backticks and that do not exist."""
    return [name for name in FILE.findall(text) if not (root / name).exists()]


def unconnected_files(steps: list[str], files: Mapping[str, Path], root: Path) -> list[str]:
    """Return the files of a path that no file named before imports, directly or through others."""
    modules = {path.relative_to(root).as_posix(): module for module, path in files.items()}
    named = [name for step in steps for name in FILE.findall(step) if name.endswith(".py")]
    reached: set[str] = set()
    waiting = [modules[named[0]]]
    problems = []
    for name in named:
        while waiting:
            module = waiting.pop()
            new = {target for target, _ in imported_files(module, files)} - reached
            reached |= new
            waiting.extend(new)
        if modules[name] not in reached and name != named[0]:
            problems.append(name)
            waiting.append(modules[name])
    return problems


def test_files_on_the_page_exist():
    missing = missing_files(PAGE, ROOT)
    assert missing == [], f"docs/architecture.md names files that do not exist: {', '.join(missing)}"


@pytest.mark.parametrize("title", PATHS)
def test_each_path_has_ten_steps_with_files(title):
    steps = _steps(title)
    assert len(steps) == 10
    assert [step for step in steps if not FILE.search(step)] == []


@pytest.mark.parametrize("title", PATHS)
def test_each_path_follows_the_imports(title):
    assert missing_files(_section(title), ROOT) == []
    unconnected = unconnected_files(_steps(title), source_files(ROOT), ROOT)
    assert unconnected == [], f"{title}: no earlier file imports {', '.join(unconnected)}"


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != "runtime"])
def test_the_tables_are_those_of_the_layering_test(package):
    rows = {}
    for line in re.findall(r"^\| `.*$", _section(package), re.MULTILINE):
        name, purpose, own, other = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        assert purpose, f"{name}: what is it for?"
        rows[name] = Row(own, other)
    assert rows == {name: row for name, row in TABLE[package].items() if name != "*"}


def test_a_missing_file_is_named():
    assert missing_files("1. `runtime/graph.py` and `runtime/gone.py`, in `runtime/`", ROOT) == ["runtime/gone.py"]


def test_an_unconnected_file_is_named():
    steps = ["`runtime/graph.py` first", "then `runtime/records.py`, at last `export/verify/verify.py`"]
    assert unconnected_files(steps, source_files(ROOT), ROOT) == ["export/verify/verify.py"]
