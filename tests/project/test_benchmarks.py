"""Benchmarks and image scripts import names that exist; from a clone they run without installation.

`python benchmarks/x.py` puts benchmarks/ on the path, not the folder above it. Each script therefore appends its own
tree: an installed tinyscene comes first and is never mixed with the clone's; without one, the clone's is used.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyscene
from tests.project.imports import unresolved

ROOT = Path(tinyscene.__file__).parent.parent
PATHS = [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docker/*.py")]
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in PATHS)
OWN_TREE = ("sys.path.append(str(Path(__file__).resolve().parent.parent))", "\nfrom verify import")  # verify appends it
QUICK = "benchmarks/runtime_logmel.py"  # starts without PyTorch


def _help(*python_path: Path) -> subprocess.CompletedProcess[str]:
    """Start a benchmark from another folder, with these folders alone on the path and no site-packages.

    ``-S`` switches site-packages off, so that the .pth file of an editable install has no effect.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, python_path))}
    command = [
        sys.executable,
        "-S",
        str(ROOT / QUICK),
        "--help",
    ]  # -S: a .pth file of an editable install has no effect
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_imports_of_scripts_resolve(script):
    assert unresolved((ROOT / script).read_text()) == []


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.startswith("benchmarks/")])
def test_a_benchmark_appends_its_own_tree_before_it_imports(script):
    source = (ROOT / script).read_text()
    imported = source.find("\nfrom tinyscene")
    assert "sys.path.insert" not in source
    assert imported < 0 or any(0 <= source.find(line) < imported for line in OWN_TREE)


def test_a_benchmark_runs_from_a_clone_without_installation():
    ran = _help(Path(np.__file__).parent.parent)
    assert ran.returncode == 0, ran.stderr
    assert "--rounds" in ran.stdout


def test_a_benchmark_uses_an_installed_package(tmp_path):
    (tmp_path / "tinyscene").mkdir()
    (tmp_path / "tinyscene" / "__init__.py").write_text("raise ImportError('the installed one')\n")
    assert "the installed one" in _help(tmp_path, Path(np.__file__).parent.parent).stderr
