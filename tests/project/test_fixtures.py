"""tests/conftest.py: a missing tool or package skips the test, listed by name, and fails it when CI=true."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

@pytest.mark.needs_tool("no-such-tool")
def test_marked():
    pass

def test_called(needs_tool):
    needs_tool("bash", "no-such-tool")

@pytest.mark.needs_module("no_such_module")
def test_module():
    pass

@pytest.mark.needs_tool("bash")
def test_both_exist(needs_module):
    needs_module("numpy")

def test_data(shared_data):
    assert shared_data.is_dir()

def test_threads():
    import os
    assert os.environ["OMP_NUM_THREADS"] == "1"
"""


@pytest.fixture
def suite(tmp_path: Path, repository: Path) -> Path:
    shutil.copy(repository / "tests" / "conftest.py", tmp_path)
    shutil.copy(repository / "pyproject.toml", tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE)
    return tmp_path


def _run(suite: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the suite in one worker, as `make test` does, without the variables of the surrounding test run."""
    left_out = ("PYTEST_", "OMP_", "TINYSCENE_")
    clean = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith(left_out)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", "test_suite.py"],
        cwd=suite,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_locally_a_missing_tool_or_package_is_a_skip(suite):
    result = _run(suite)
    assert result.returncode == 0, result.stdout
    assert "skipped, and why" in result.stdout
    assert "   2  tool no-such-tool is missing\n" in result.stdout
    assert "   1  Python package no_such_module is missing\n" in result.stdout
    assert "   1  shared data is missing (TINYSCENE_SHARED names its folder)\n" in result.stdout
    assert "2 passed, 4 skipped" in result.stdout


def test_in_ci_a_missing_tool_or_package_is_a_failure(suite):
    result = _run(suite, CI="true")
    assert result.returncode == 1
    assert result.stdout.count("is missing, and CI=true allows no gaps") >= 3
    summary = result.stdout.splitlines()[-1]
    assert "2 passed, 1 skipped" in summary
    assert "failed" in summary or "error" in summary


def test_a_variable_names_the_folder_of_shared_data(suite, tmp_path):
    (tmp_path / "elsewhere" / "golden").mkdir(parents=True)
    result = _run(suite, TINYSCENE_SHARED=str(tmp_path / "elsewhere"))
    assert "3 passed, 3 skipped" in result.stdout
