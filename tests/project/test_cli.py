"""The `tinyscene` command: help, version, errors in one line, start-up time."""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import tinyscene
from tinyscene import command_line
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.install_hint import declared_extras, install_hint

ROOT = Path(tinyscene.__file__).parents[1]
HEAVY = {"torch", "lightning", "onnx", "onnxruntime", "tensorflow", "matplotlib", "ai_edge_litert", "scipy", "numba"}
START_UP_SECONDS = 0.3


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tinyscene", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=ROOT,
        check=False,
    )


def _failing_with(failure: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `tinyscene run` end in the failure given."""

    def run(open_model: object = None) -> None:
        raise failure

    monkeypatch.setattr(command_line, "_load", lambda _target: run)


def test_help_names_every_command():
    result = _run("--help")
    assert result.returncode == 0
    for name in {row.name.split()[0] for row in command_line.COMMANDS}:
        assert f"  {name} " in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("words", [(), ("data",)])
def test_without_a_command_help_is_printed(words):
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
        (FileNotFoundError(2, "No such file or directory", "a.wav"), "a.wav: no such file or folder; next: check"),
        (OSError(28, "No space left on device"), "tinyscene run: no space left on the disk; next: free some space"),
        (ZeroDivisionError("division\nby zero"), "unexpected ZeroDivisionError: division by zero; next:"),
        (ModuleNotFoundError("No module named 'tinyscene.x'", name="tinyscene.x"), "defect of tinyscene"),
    ],
)
def test_every_other_failure_is_one_line(failure, expected, monkeypatch, capsys):
    _failing_with(failure, monkeypatch)
    assert command_line.main(["run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert expected in line


def test_a_missing_package_names_the_extra(monkeypatch, capsys):
    _failing_with(ModuleNotFoundError("No module named 'torch'", name="torch"), monkeypatch)
    assert command_line.main(["train"]) == 2
    assert capsys.readouterr().err.endswith(f"next: {install_hint('train')}\n")


def test_every_extra_of_the_table_is_declared():
    assert {row.extra for row in command_line.COMMANDS} <= set(declared_extras())


@pytest.mark.parametrize("words", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback_at_any_position(words, monkeypatch, capsys):
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
    assert loaded == ["training.commands.data:synth"]


@pytest.mark.parametrize("row", command_line.COMMANDS, ids=lambda row: row.name)
def test_every_row_names_a_function_that_explains_itself(row):
    module, _, function = row.target.partition(":")
    assert getattr(importlib.import_module(f"tinyscene.{module}"), function).__doc__


def _modules_loaded_by(*words: str) -> set[str]:
    """Names of packages, and of the packages inside tinyscene such as tinyscene.export."""
    code = (
        "import sys; from tinyscene.command_line import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = result.stderr.split()
    return {name.partition(".")[0] for name in modules} | {".".join(name.split(".")[:2]) for name in modules}


def test_help_imports_nothing_heavy():
    loaded = _modules_loaded_by("--help")
    assert "typer" in loaded
    assert not loaded & (HEAVY | {"numpy", "tinyscene.training", "tinyscene.export", "tinyscene.firmware_harness"})


@pytest.mark.parametrize("row", command_line.COMMANDS, ids=lambda row: row.name)
def test_help_of_a_command_imports_nothing_heavy(row):
    loaded = _modules_loaded_by(*row.name.split(), "--help")
    assert f"tinyscene.{row.target.partition('.')[0]}" in loaded
    assert not loaded & HEAVY


def test_start_up_time():
    """CPU time of the process, the minimum of several runs: other load on the machine does not count."""
    seconds = []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert _run("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"tinyscene --help: minimum {min(seconds):.3f} s of CPU time")
    assert min(seconds) < 2 * START_UP_SECONDS
