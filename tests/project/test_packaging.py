"""What gets installed is what stands in the tree: packages, data files, dependencies, versions."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("export", "firmware_harness", "runtime", "training")

# Where the name in `import` differs from the name of the distribution.
DISTRIBUTION_OF = {
    "yaml": "pyyaml",
    **{name.replace("-", "_"): name for name in ("ai-edge-litert", "onnxruntime-qnn", "tflite-micro")},
}
# Accepted when present, never asked for: the predecessor of ai-edge-litert.
NEVER_DECLARED = {"tflite_runtime"}


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text())


def _sources(repository: Path) -> list[Path]:
    return [path for package in PACKAGES for path in sorted((repository / package).rglob("*")) if _is_source(path)]


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"


def _requirement_names(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9._-]+", text)[0].lower() for text in requirements}


def test_every_package_folder_is_listed(project, repository):
    folders = {
        str(init.parent.relative_to(repository)).replace("/", ".")
        for package in PACKAGES
        for init in (repository / package).rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == folders


def test_every_folder_with_python_is_a_package(repository):
    for path in _sources(repository):
        if path.suffix == ".py":
            assert path.with_name("__init__.py").exists(), f"{path.parent} holds Python but no __init__.py"


def test_the_wheel_holds_every_source_file(repository, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "tinyscene/command_line.py"):
        shutil.copy(repository / name, tree)
    for package in PACKAGES:
        shutil.copytree(repository / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    expected = {str(path.relative_to(tree)) for path in _sources(tree)} | {"tinyscene/command_line.py"}
    code = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=tree, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("tinyscene-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == expected


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("runtime", ("dev", "export")),
        ("firmware_harness", ("firmware", "flash")),
        ("training", ("train", "wandb", "mlflow")),
        ("export", ("export", "npu", "tensorflow")),
    ],
)
def test_every_import_is_declared(package, extras, project, repository):
    """`runtime` opens other engines when they are there; they belong to the extras that bring them."""
    declared = _requirement_names(project["project"]["dependencies"])
    optional = project["project"]["optional-dependencies"]
    for extra in {*extras, *(("train", "dev") if package == "export" else ())}:
        declared |= _requirement_names(optional[extra])
    for path in (repository / package).rglob("*.py"):
        foreign = _imported(path) - set(sys.stdlib_module_names) - set(PACKAGES) - NEVER_DECLARED
        undeclared = {name for name in foreign if DISTRIBUTION_OF.get(name, name) not in declared}
        assert not undeclared, f"{path}: not in pyproject.toml for {package}: {undeclared}"


def test_every_direct_dependency_has_a_tested_version(project, repository):
    pins = {}
    for line in (repository / "docker" / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[name.lower().replace("_", "-")] = version
    optional = project["project"]["optional-dependencies"]
    wanted = _requirement_names(project["project"]["dependencies"])
    for extra in ("train", "export", "firmware", "flash", "npu", "dev"):
        wanted |= _requirement_names(optional[extra])
    assert wanted - {"tinyscene"} <= pins.keys()
    set_up = (repository / ".ci" / "setup").read_text()
    assert f"torch_version={pins['torch']}\n" in set_up
