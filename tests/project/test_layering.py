"""The arrows of the house, kept by reading every import.

runtime -> numpy, soundfile, soxr; firmware_harness -> runtime; training -> runtime; export -> all three.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND_LINE = {"typer", "rich"}
ENGINES = {"onnxruntime", "ai_edge_litert", "tflite_runtime", "tflite_micro"}


@dataclass(frozen=True)
class Arrows:
    """What a package may import: anywhere in it, in files named, and in files named but inside functions only."""

    anywhere: frozenset[str]
    in_file: dict[str, set[str]]
    inside_functions: dict[str, set[str]]


ARROWS = {
    "runtime": Arrows(
        frozenset({"numpy", "soundfile", "soxr"}),
        in_file={"cli.py": COMMAND_LINE, "options.py": {"typer"}, "terminal.py": {"rich"}},
        inside_functions={"engines.py": ENGINES},
    ),
    "firmware_harness": Arrows(
        frozenset({"runtime", "numpy"}),
        in_file={
            "cli.py": COMMAND_LINE,
            "ship/cli.py": COMMAND_LINE,
            "options.py": COMMAND_LINE,
            "present.py": {"rich"},  # tables
        },
        inside_functions={"ship/flash.py": {"pyocd"}},
    ),
    "training": Arrows(
        frozenset({"runtime", "numpy", "soundfile", "soxr", "torch", "lightning", "pydantic", "yaml", "rich"}),
        in_file={"cli.py": COMMAND_LINE, "recipe_command.py": {"typer"}, "page/house.py": {"jinja2"}},
        inside_functions={"loggers.py": {"mlflow", "wandb"}},
    ),
    "export": Arrows(
        frozenset({"runtime", "training", "firmware_harness", "numpy", "torch", "lightning", "rich"})
        | {"onnx", "onnxsim", "onnxruntime", "flatbuffers", "ai_edge_litert", "jinja2"},
        in_file={"cli.py": COMMAND_LINE, "check.py": COMMAND_LINE, "verify_command.py": COMMAND_LINE}
        | {"hexagon_worker.py": {"onnxruntime_qnn"}, "coreml_worker.py": {"coremltools"}}
        | {"converter_worker.py": {"tensorflow"}},  # programs of their own, which no other module imports
        inside_functions={"report/records.py": {"pydantic"}},  # for the schema of the report
    ),
}


@dataclass(frozen=True)
class Imported:
    """One import statement: the top-level package, where it stands, and whether a function delays it."""

    name: str
    level: int  # the dots of a relative import
    line: int
    delayed: bool


def _imports(path: Path) -> Iterator[Imported]:
    yield from _imports_in(ast.parse(path.read_text(), str(path)), delayed=False)


def _imports_in(node: ast.AST, *, delayed: bool) -> Iterator[Imported]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Imported(alias.name.partition(".")[0], 0, child.lineno, delayed)
        elif isinstance(child, ast.ImportFrom):
            yield Imported((child.module or "").partition(".")[0], child.level, child.lineno, delayed)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for statement in child.orelse:
                yield from _imports_in(statement, delayed=delayed)
        else:
            inside = delayed or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports_in(child, delayed=inside)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _violations(package: str, root: Path) -> Iterator[str]:
    arrows = ARROWS[package]
    for path in sorted((root / package).rglob("*.py")):
        place = str(path.relative_to(root / package))
        allowed = arrows.anywhere | arrows.in_file.get(place, set()) | set(sys.stdlib_module_names)
        for found in _imports(path):
            where = f"{package}/{place}:{found.line}"
            if found.level:
                continue  # Python itself refuses to climb out of the top-level package
            if found.name == package:
                yield f"{where}: absolute import inside its own package, expected a relative one"
            elif found.name in arrows.inside_functions.get(place, set()):
                if not found.delayed:
                    yield f"{where}: {found.name} at the top of the file, expected inside a function"
            elif found.name not in allowed:
                yield f"{where}: {package} may not import {found.name}"


@pytest.mark.parametrize("package", ARROWS)
def test_arrows(package, repository):
    assert list(_violations(package, repository)) == []


@pytest.mark.parametrize(
    ("place", "source", "complaint"),
    [
        ("runtime/graph.py", "def f():\n    import torch\n", "runtime may not import torch"),
        ("runtime/graph.py", "from rich.table import Table\n", "runtime may not import rich"),
        ("runtime/engines.py", "import onnxruntime\n", "onnxruntime at the top of the file"),
        ("runtime/graph.py", "import tinyscene\n", "runtime may not import tinyscene"),
        ("firmware_harness/emit/model.py", "from tinyscene.export.verify.verify import run\n", "may not import export"),
        ("training/data/tau22.py", "try:\n    import export\nexcept ImportError:\n    pass\n", "may not import export"),
        ("export/quantise/lower.py", "from tinyscene.export.quantise.fold import fold\n", "expected a relative one"),
    ],
)
def test_a_forbidden_arrow_is_found(place, source, complaint, tmp_path):
    path = tmp_path / place
    path.parent.mkdir()
    path.write_text(source)
    (violation,) = _violations(path.parent.name, tmp_path)
    assert complaint in violation
    assert place in violation


@pytest.mark.parametrize(
    "source", ["from .spec import FrontendSpec\n", "import numpy as np\n", "def f():\n    import ai_edge_litert\n"]
)
def test_an_allowed_arrow_is_let_through(source, tmp_path):
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "engines.py").write_text(source)
    assert list(_violations("runtime", tmp_path)) == []


def test_importing_a_package_loads_nothing_heavy(repository):
    code = "import sys, runtime, training, export, firmware_harness; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in run.stdout.split()}
    assert {"runtime", "training", "export", "firmware_harness"} <= loaded
    assert not loaded & {"torch", "lightning", "onnx", "onnxruntime", "tensorflow", "matplotlib", "ai_edge_litert"}
