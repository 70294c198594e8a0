"""Benchmarks and image scripts import names that exist, and measure the tree that they belong to.

`python benchmarks/x.py` puts benchmarks/ on the path, not the folder above it. Each script therefore adds its own tree
in front: in a clone it runs without installation and never mixes with an installed tinyscene; copied elsewhere, it uses
the installed one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinyscene
from tests.project.imports import unresolved

ROOT = Path(tinyscene.__file__).parent.parent
PATHS = [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docker/*.py")]
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in PATHS)
OWN_TREE = "sys.path.insert(0, str(Path(__file__).resolve().parent.parent))\n"
QUICK = "benchmarks/runtime_logmel.py"  # starts without PyTorch


def _help(script: Path, folder: Path, python_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(python_path)}
    command = [sys.executable, str(script), "--help"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_imports_of_scripts_resolve(script):
    assert unresolved((ROOT / script).read_text()) == []


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.startswith("benchmarks/")])
def test_a_benchmark_adds_its_own_tree_first(script):
    source = (ROOT / script).read_text()
    own_tree, imported = source.find(OWN_TREE), source.find("\nfrom tinyscene")
    assert imported < 0 or 0 <= own_tree < imported


@pytest.fixture
def broken(tmp_path) -> Path:
    """A folder with an installed tinyscene that must not be used."""
    (tmp_path / "site" / "tinyscene").mkdir(parents=True)
    (tmp_path / "site" / "tinyscene" / "__init__.py").write_text("raise ImportError('the installed one')\n")
    return tmp_path / "site"


def test_a_benchmark_in_a_clone_uses_the_clone(broken, tmp_path):
    ran = _help(ROOT / QUICK, tmp_path, broken)
    assert ran.returncode == 0, ran.stderr
    assert "--rounds" in ran.stdout


def test_a_copied_benchmark_uses_the_installed_package(broken, tmp_path):
    (tmp_path / "copied" / "benchmarks").mkdir(parents=True)
    script = Path(shutil.copy(ROOT / QUICK, tmp_path / "copied" / "benchmarks"))
    assert "the installed one" in _help(script, tmp_path, broken).stderr
