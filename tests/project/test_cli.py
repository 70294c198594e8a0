"""The `tinyscene` command as a user meets it: help, version, errors in one line, and a quick start."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

import tinyscene
from tinyscene import command_line
from tinyscene.runtime.errors import TinysceneError

HEAVY = {"torch", "lightning", "onnx", "onnxruntime", "tensorflow", "matplotlib", "ai_edge_litert", "scipy", "numba"}
START_UP_SECONDS = 0.3


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tinyscene", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=Path(tinyscene.__file__).parent.parent,
        check=False,
    )


def _failing_with(failure: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `tinyscene run` end in the failure given."""

    def run() -> None:
        raise failure

    monkeypatch.setattr(command_line, "_load", lambda _target: run)


def _skip_if_unwritten(module: str) -> None:
    if not Path(tinyscene.__file__).parent.parent.joinpath(*module.split(".")).with_suffix(".py").exists():
        pytest.skip(f"{module} is not written yet")


def test_help_names_every_command():
    result = _run("--help")
    assert result.returncode == 0
    for name in {row.name.split()[0] for row in command_line.COMMANDS}:
        assert f"  {name} " in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("words", [(), ("data",)])
def test_no_command_is_a_question_for_help(words):
    result = _run(*words)
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: tinyscene")


def test_version():
    assert _run("--version").stdout == f"tinyscene {tinyscene.__version__}\n"


@pytest.mark.parametrize("words", [("rnu",), ("--no-such-option",), ("data", "synht")])
def test_a_misspelt_command_is_one_line_and_exit_2(words):
    result = _run(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: No such ")
    assert line.endswith("--help")


def test_a_known_failure_is_its_own_line(monkeypatch, capsys):
    _failing_with(TinysceneError("clip.wav", "is empty", expected="audio", next_step="record again"), monkeypatch)
    assert command_line.main(["run"]) == 2
    assert capsys.readouterr().err == "error: clip.wav: is empty; expected audio; next: record again\n"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "needs the Python package torch"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), "a.wav: No such file or directory"),
        (ZeroDivisionError("division\nby zero"), "unexpected ZeroDivisionError: division by zero; next:"),
        (ModuleNotFoundError("No module named 'runtime.x'", name="runtime.x"), "defect of tinyscene"),
    ],
)
def test_any_other_failure_is_one_line_too(failure, expected, monkeypatch, capsys):
    _failing_with(failure, monkeypatch)
    assert command_line.main(["run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert expected in line


def test_a_missing_package_names_the_extra(monkeypatch, capsys):
    _failing_with(ModuleNotFoundError("No module named 'torch'", name="torch"), monkeypatch)
    assert command_line.main(["train"]) == 2
    assert capsys.readouterr().err.endswith("next: pip install 'tinyscene[train]'\n")


@pytest.mark.parametrize("words", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(words, monkeypatch, capsys):
    _failing_with(TinysceneError("clip.wav", "is empty"), monkeypatch)
    assert command_line.main(words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback")
    assert printed.endswith("error: clip.wav: is empty\n")


def test_interruption_is_one_line(monkeypatch, capsys):
    _failing_with(KeyboardInterrupt(), monkeypatch)
    assert command_line.main(["run"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_verdict_is_the_exit_code(code, monkeypatch):
    _failing_with(typer.Exit(code), monkeypatch)
    assert command_line.main(["check"]) == code


def test_only_the_called_package_is_loaded(monkeypatch):
    loaded = []
    monkeypatch.setattr(command_line, "_load", lambda target: loaded.append(target) or (lambda: None))
    assert command_line.main(["data", "synth"]) == 0
    assert loaded == ["tinyscene.training.commands.data:synth"]


@pytest.mark.parametrize("row", command_line.COMMANDS, ids=lambda row: row.name)
def test_every_row_names_a_function_that_explains_itself(row):
    module, _, function = row.target.partition(":")
    _skip_if_unwritten(module)
    assert getattr(importlib.import_module(module), function).__doc__


def _modules_loaded_by(*words: str) -> set[str]:
    code = "import sys, tinyscene; command_line.main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return {module.partition(".")[0] for module in result.stderr.split()}


def test_help_imports_nothing_heavy():
    loaded = _modules_loaded_by("--help")
    assert "typer" in loaded
    assert not loaded & (HEAVY | {"numpy", "training", "export", "firmware_harness"})


@pytest.mark.parametrize("row", command_line.COMMANDS, ids=lambda row: row.name)
def test_help_of_a_command_imports_nothing_heavy(row):
    module = row.target.partition(":")[0]
    _skip_if_unwritten(module)
    loaded = _modules_loaded_by(*row.name.split(), "--help")
    assert module.partition(".")[0] in loaded
    assert not loaded & HEAVY


def test_start_up_time():
    """The best of several, so that a busy machine does not decide; the bound holds with room on a quiet one."""
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        assert _run("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    print(f"tinyscene --help: {min(seconds):.3f} s at best")
    assert min(seconds) < 2 * START_UP_SECONDS
