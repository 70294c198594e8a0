"""What is installed and what it requires: contents of wheel and source archive, declared imports, tested versions."""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.conftest import build

PACKAGES = ("export", "firmware_harness", "runtime", "training")

# Where the import name differs from the name of the distribution.
DISTRIBUTION_OF = {
    "elftools": "pyelftools",
    "yaml": "pyyaml",
    **{name.replace("-", "_"): name for name in ("ai-edge-litert", "onnxruntime-qnn", "tflite-micro")},
}


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def sdist(clone, wheel, tmp_path_factory) -> Path:
    """The source archive of a clone, unpacked."""
    archive = build("sdist", clone, tmp_path_factory.mktemp("sdist"))
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as opened:
        kinds = {member.name: member for member in opened}
        assert all(member.isfile() or member.isdir() for member in kinds.values()), "a link"
        opened.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def _sources(tree: Path) -> set[str]:
    """Every file of the import package, through the links, by its path below the tree."""
    folders = [tree / "tinyscene", *(tree / "tinyscene" / package for package in PACKAGES)]
    paths = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    kept = {path for path in paths if "__pycache__" not in path.parts and path.suffix != ".pyc"}
    return {str(path.relative_to(tree)) for path in kept}


def _contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist() if ".dist-info/" not in name}


def _requirement_names(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9._-]+", text)[0].lower() for text in requirements}


def test_every_folder_with_python_is_a_package(repository):
    for package in PACKAGES:
        for path in (repository / package).rglob("*.py"):
            assert path.with_name("__init__.py").exists(), f"{path.parent} contains Python but no __init__.py"


def test_the_wheel_installs_one_name(wheel):
    with zipfile.ZipFile(wheel) as opened:
        names = {name.partition("/")[0] for name in opened.namelist()}
        metadata = {name for name in names if name.endswith(".dist-info")}
        assert len(metadata) == 1
        assert names - metadata == {"tinyscene"}
        assert opened.read(f"{metadata.pop()}/top_level.txt") == b"tinyscene\n"


def test_the_wheel_contains_every_source_file_and_nothing_else(wheel, clone):
    assert set(_contents(wheel)) == _sources(clone)


def test_the_source_archive_builds_the_same_wheel(sdist, wheel, tmp_path):
    tree = shutil.copytree(sdist, tmp_path / "tree")
    assert _contents(build("wheel", tree, tmp_path)) == _contents(wheel)


def test_the_source_archive_contains_the_package_alone(sdist):
    build_files = {"LICENSE", "NOTICE", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg", "tinyscene.egg-info"}
    assert {path.name for path in sdist.iterdir()} == {"tinyscene", *build_files}
    assert not [path for path in sdist.rglob("*") if path.is_symlink()]


def test_an_editable_install_is_a_path_file(clone, tmp_path):
    """mypy and pyright follow a .pth file to the sources, and do not follow the import hook of the default mode."""
    ((name, content),) = _contents(build("editable", clone, tmp_path)).items()
    assert name.endswith(".pth")
    assert content.decode() == f"{clone}\n"


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("runtime", ("dev", "export")),
        ("firmware_harness", ("firmware", "flash", "wasm")),
        ("training", ("train", "wandb", "mlflow")),
        ("export", ("export", "npu", "tensorflow")),
    ],
)
def test_every_import_is_declared(package, extras, project, repository):
    """`runtime` opens the optional engines where they are installed; other extras require those."""
    declared = _requirement_names(project["project"]["dependencies"])
    optional = project["project"]["optional-dependencies"]
    for extra in {*extras, *(("train", "dev") if package == "export" else ())}:
        declared |= _requirement_names(optional[extra])
    for path in (repository / package).rglob("*.py"):
        others = _imported(path) - set(sys.stdlib_module_names) - {"tinyscene"}
        undeclared = {name for name in others if DISTRIBUTION_OF.get(name, name) not in declared}
        assert not undeclared, f"{path}: not in pyproject.toml for {package}: {undeclared}"


def test_every_direct_dependency_has_a_tested_version(project, repository):
    pins = {}
    for line in (repository / "docker" / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[name.lower().replace("_", "-")] = version
    optional = project["project"]["optional-dependencies"]
    required = _requirement_names(project["project"]["dependencies"])
    for extra in ("train", "export", "firmware", "flash", "wasm", "npu", "fuzz", "dev"):
        required |= _requirement_names(optional[extra])
    assert required - {"tinyscene"} <= pins.keys()
    set_up = (repository / ".ci" / "setup").read_text()
    assert f"torch_version={pins['torch']}\n" in set_up
