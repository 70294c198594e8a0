"""The wheel in a fresh environment, next to a user's own `training`, `export` and `runtime`; and a clone without it.

tinyscene is the installed wheel; its dependencies are those of the environment that runs the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import small_net
from tinyscene.runtime.tflite_write import to_tflite

NAMES = ("export", "firmware_harness", "runtime", "training")
FACE = ("Graph", "SceneClassifier", "SceneEvent", "TinysceneError", "read_bundle", "run")
# Prints where each module comes from; the user's own modules define MARK.
OWN_AND_OURS = """
import sys
import {own} as own
import tinyscene
from tinyscene.runtime.graph import Graph
from tinyscene.training.recipe import known_recipes
from tinyscene.export.commands import npu
print(own.MARK, tinyscene.__file__, Graph.__module__, len(known_recipes()) > 0)
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin folder of a new environment with the wheel; a .pth file adds the dependencies, no editable install."""
    home = tmp_path_factory.mktemp("installed") / "env"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    site = sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    Path(site, "dependencies.pth").write_text("".join(f"{path}\n" for path in packages))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--ignore-installed", str(wheel)], check=True, capture_output=True, text=True)
    torchrun = home / "bin" / "torchrun"
    torchrun.write_text(f"#!{python}\nfrom torch.distributed.run import main\nmain()\n")
    torchrun.chmod(0o755)
    return home / "bin"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A user's working folder with a model."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "scene.tflite").write_bytes(to_tflite(small_net(np.random.default_rng(2), grn=False)))
    return folder


def _own(folder: Path, *paths: str) -> None:
    """A user's own modules."""
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"MARK = 'own {path}'\n")


@pytest.fixture
def run(installed, folder) -> Run:
    """Runs a program of the fresh environment in the user's folder."""

    def run(program: str, *words: str, python_path: str | None = None, check: bool = True):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        environment |= {"PATH": f"{installed}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        if python_path is not None:
            environment["PYTHONPATH"] = python_path
        ran = subprocess.run(
            [str(installed / program), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert not check or ran.returncode == 0, ran.stdout + ran.stderr
        return ran

    return run


def _assert_both_work(run: Run, folder: Path, own: str, path: str, python_path: str | None) -> None:
    """The user's module is the user's, and tinyscene's commands work from the same folder."""
    (folder / "main.py").write_text(OWN_AND_OURS.format(own=own))
    printed = run("python", "main.py", python_path=python_path).stdout
    assert printed.startswith(f"own {path} ")
    assert "site-packages/tinyscene/__init__.py tinyscene.runtime.graph True" in printed
    for command in (("tinyscene",), ("python", "-m", "tinyscene")):
        ran = run(*command, "check", "scene.tflite", "--json", python_path=python_path)
        assert '"macs"' in ran.stdout


COLLISIONS = {
    "training/my_loop.py": "training.my_loop",  # a folder without __init__.py
    "training/__init__.py": "training",
    "export.py": "export",
    "runtime.py": "runtime",
    "runtime/__init__.py": "runtime",
    "firmware_harness/__init__.py": "firmware_harness",
}


@pytest.mark.parametrize("path", COLLISIONS)
def test_a_users_own_module_of_our_names(path, run, folder):
    _own(folder, path)
    _assert_both_work(run, folder, COLLISIONS[path], path, None)


def test_all_of_them_at_once_on_the_python_path(run, folder):
    _own(folder, *COLLISIONS)
    _assert_both_work(run, folder, "export", "export.py", ".")


def test_torchrun_from_such_a_folder(run, folder):
    _own(folder, *COLLISIONS)
    ran = run("torchrun", "--standalone", "--nproc-per-node", "2", "-m", "tinyscene", "--version", python_path=".")
    assert ran.stdout.count("tinyscene 0.") == 2
    (folder / "main.py").write_text(OWN_AND_OURS.format(own="export"))
    assert run("torchrun", "--standalone", "main.py", python_path=".").stdout.startswith("own export.py ")


def test_spawned_processes_from_such_a_folder(run, folder):
    _own(folder, *COLLISIONS)
    run("tinyscene", "data", "synth", "--out", "scenes", "--locations", "4", "--clips", "1", python_path=".")
    assert (folder / "scenes" / "meta.csv").is_file()
    run("tinyscene", "data", "check", "scenes", python_path=".")


@pytest.mark.slow
def test_torchrun_trains_from_such_a_folder(run, folder):
    """Two processes, as docs/training.md describes."""
    _own(folder, *COLLISIONS)
    run("tinyscene", "data", "synth", "--out", "scenes", "--locations", "4", "--clips", "2")
    recipe = "model: cpm23-8\nfrontend: cpm23\nepochs: 1\nlearning_rate: 0.001\nbatch_size: 16\n"
    (folder / "quick.yaml").write_text(recipe)
    words = ["-m", "tinyscene", "train", "quick.yaml", "--data", "scenes", "--out", "run"]
    run("torchrun", "--standalone", "--nproc-per-node", "2", *words, python_path=".")
    assert list((folder / "run").rglob("*.pt"))


# --- the base install with the extra npu


NO_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "lightning", "yaml", "onnx", "onnxruntime"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from tinyscene.command_line import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.needs_module("ethosu")
def test_npu_needs_no_pytorch(run, folder, installed):
    if not (installed / "vela").exists():
        (installed / "vela").write_text(f"#!{installed}/python\nfrom ethosu.vela.vela import main\nmain()\n")
        (installed / "vela").chmod(0o755)
    (folder / "no_torch.py").write_text(NO_TORCH)
    ran = run("python", "no_torch.py", "npu", "scene.tflite", "--targets", "ethos-u55-128", "--json")
    assert '"npu_share"' in ran.stdout
    refused = run("python", "no_torch.py", "train", "cpm23", "--data", "x", "--out", "y", check=False)
    assert refused.returncode == 2
    assert "needs the Python package" in refused.stderr


# --- import tinyscene


def test_the_library_of_the_wheel(run):
    names = f"getattr(tinyscene, name).__name__ for name in {FACE!r}"
    code = f"import tinyscene; print(*({names})); print(tinyscene.__all__)"
    names, exported = run("python", "-c", code).stdout.splitlines()
    assert names.split() == list(FACE)
    assert exported == repr(list(FACE))


def test_importing_it_loads_one_module(run):
    """The modules and the CPU time that `import tinyscene` adds to a bare Python."""
    code = (
        "import sys; from time import process_time as t; before = set(sys.modules); begin = t(); import tinyscene; "
        "print(t() - begin, *sorted(set(sys.modules) - before))"
    )
    runs = [run("python", "-c", code).stdout.split() for _ in range(5)]
    seconds, modules = min(float(words[0]) for words in runs), set(runs[0][1:])
    print(f"import tinyscene: {1e3 * seconds:.1f} ms, {len(modules)} modules: {sorted(modules)}")
    assert modules == {"tinyscene"}
    assert seconds < 0.02


def test_an_unknown_name_is_an_attribute_error():
    import tinyscene

    assert set(FACE) <= set(dir(tinyscene))
    with pytest.raises(AttributeError, match="module 'tinyscene' has no attribute 'Grpah'"):
        tinyscene.Grpah  # noqa: B018


# --- a clone


@pytest.fixture
def in_clone(clone) -> Run:
    """Runs Python in a clone, whose folder comes first on the path."""

    def run(*words: str):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [sys.executable, *words], cwd=clone, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("name", NAMES)
def test_a_bare_import_in_a_clone_is_refused_in_one_line(name, in_clone):
    ran = in_clone("-c", f"import {name}")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == f"ImportError: {name} is imported as tinyscene.{name}"


def test_a_clone_without_an_installation(in_clone, clone):
    assert in_clone("-m", "tinyscene", "--version").stdout.startswith("tinyscene 0.")
    ran = in_clone("-c", "import tinyscene; print(tinyscene.Graph.__module__, tinyscene.__file__)")
    assert ran.stdout == f"tinyscene.runtime.graph {clone / 'tinyscene' / '__init__.py'}\n"
    (clone / "test_own.py").write_text("from tinyscene import run\n\ndef test(): assert run.__name__ == 'run'\n")
    ran = in_clone("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_own.py")
    (clone / "test_own.py").unlink()
    assert ran.returncode == 0, ran.stdout


# --- type checkers

TYPED = """
from tinyscene import Graph, SceneClassifier, SceneEvent, TinysceneError, read_bundle, run

classifier = SceneClassifier.open("bundle")
reveal_type(classifier)
reveal_type(read_bundle("bundle").graph)
reveal_type(run)
problem: type[Exception] = TinysceneError
number: int = classifier  # the one error
"""


def _type_checked(words: list[str], folder: Path) -> str:
    (folder / "typed.py").write_text(TYPED)
    ran = subprocess.run([*words, "typed.py"], cwd=folder, capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


def _assert_resolved(printed: str) -> None:
    """Every name of the face has its type, and the one wrong line is the one that is reported."""
    for name in ("SceneClassifier", "Graph", "def (" if "def (" in printed else "(graph: Graph"):
        assert name in printed, printed
    wrong_lines = {line.split(":")[1] for line in printed.splitlines() if " error: " in line}
    assert wrong_lines == {"9"}, printed


@pytest.mark.slow
@pytest.mark.parametrize("way", ["wheel", "editable"])
def test_mypy_resolves_the_face(way, installed, clone, tmp_path):
    python = str(installed / "python") if way == "wheel" else _editable(clone, tmp_path)
    words = [sys.executable, "-m", "mypy", "--python-executable", python, "--cache-dir", str(tmp_path / "cache")]
    _assert_resolved(_type_checked(words, tmp_path))


@pytest.mark.slow
@pytest.mark.needs_tool("pyright")
@pytest.mark.parametrize("way", ["wheel", "editable"])
def test_pyright_resolves_the_face(way, installed, clone, tmp_path):
    python = str(installed / "python") if way == "wheel" else _editable(clone, tmp_path)
    _assert_resolved(_type_checked(["pyright", "--pythonpath", python], tmp_path))


def _editable(clone: Path, folder: Path) -> str:
    """A new environment with an editable install of the clone and the dependencies of this one; returns its Python."""
    home = folder / "editable"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    site = sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    Path(site, "dependencies.pth").write_text("".join(f"{path}\n" for path in packages))
    subprocess.run(
        [*pip, "--ignore-installed", "--no-build-isolation", "--editable", str(clone)], check=True, capture_output=True
    )
    return str(python)
