"""What all commands share: help of one screen, sub-commands and paths, option names, exit codes, completion.

The tables of `docs/commands.md` are compared with the commands.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import typer

import tinyscene
from tests.firmware_harness.bundles import small_bundle
from tests.graphs import small_net
from tinyscene import command_line, stop_signals
from tinyscene.runtime.tflite_write import to_tflite
from tinyscene.training.recipe import known_recipes

ROOT = Path(tinyscene.__file__).parent.parent
PAGE = (ROOT / "docs" / "commands.md").read_text()
SCREEN_LINES, SCREEN_COLUMNS = 30, 80
NO_JSON = {"firmware serial"}  # a server, which runs until it is interrupted
NO_QUIET = {"doctor", "bench compare", "firmware serial"}  # commands without progress and notes
COMMAND = [sys.executable, "-m", "tinyscene"]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **more}


def _options(row: command_line.Command) -> dict[str, typer.models.ParameterInfo]:
    """The command's options by their long name."""
    command = typer.main.get_command(command_line._application(row))
    for word in row.name.split():
        command = command.commands[word]
    return {option.opts[0]: option for option in command.params if option.opts[0].startswith("--")}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "scene.tflite"
    path.write_bytes(to_tflite(small_net(np.random.default_rng(2), grn=True)))
    return path


# --- help


@pytest.mark.parametrize("row", [None, *command_line.COMMANDS], ids=lambda row: row.name if row else "tinyscene")
def test_help_fits_one_screen(row, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(SCREEN_COLUMNS))
    assert command_line.main([*(row.name.split() if row else []), "-h"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= SCREEN_LINES, len(lines)
    assert max(map(len, lines)) <= SCREEN_COLUMNS
    assert not [line for line in lines[1:] if line.endswith("...")], "a summary is cut off"


def test_the_help_of_a_command_lists_its_sub_commands(capsys):
    for words, named in ((["firmware"], ["export", "serial"]), (["teachers", "train"], [])):
        assert command_line.main([*words, "--help"]) == 0
        assert re.findall(r"tinyscene firmware (\w+)", capsys.readouterr().out) == named


# --- sub-commands and paths


GROUPS_THAT_ARE_COMMANDS = {"bench": "compare", "firmware": "export", "train": "compare"}


@pytest.fixture
def called(monkeypatch) -> list[str]:
    """Names of the commands whose function was loaded."""
    names: list[str] = []

    def command(row: command_line.Command):
        def function(
            paths: Annotated[list[str] | None, typer.Argument()] = None,
            run: Annotated[bool, typer.Option("--run")] = False,
        ) -> None: ...

        names.append(row.name)
        return function

    monkeypatch.setattr(command_line, "_command", command)
    return names


@pytest.mark.parametrize(("group", "member"), GROUPS_THAT_ARE_COMMANDS.items(), ids=GROUPS_THAT_ARE_COMMANDS)
def test_the_word_after_a_group_is_the_sub_command_and_a_path_is_written_with_a_dot(group, member, called):
    for words in ([group, member], [group, member, member], ["--debug", group, member]):
        assert command_line.main(words) == 0
        assert called.pop() == f"{group} {member}"
    for words in ([group, f"./{member}"], [group, "--run", member], [group, "--", member], [group, "a", member]):
        assert command_line.main(words) == 0, words
        assert called.pop() == group


def test_every_group_that_is_a_command_is_tested():
    names = {row.name for row in command_line.COMMANDS}
    assert set(GROUPS_THAT_ARE_COMMANDS) == names & set(command_line.GROUPS)
    assert {f"{group} {member}" for group, member in GROUPS_THAT_ARE_COMMANDS.items()} <= names


def test_no_recipe_is_named_as_a_sub_command():
    assert not {f"train {name}" for name in known_recipes()} & {row.name for row in command_line.COMMANDS}


def test_a_bundle_named_as_a_sub_command(tmp_path, monkeypatch, capsys):
    """`tinyscene firmware export` is the sub-command, also next to a bundle of that name; the error names both ways."""
    for name in ("export", "compare"):
        (tmp_path / name).symlink_to(small_bundle(tmp_path / f"in-{name}"))
    monkeypatch.chdir(tmp_path)
    for group, member in (("firmware", "export"), ("bench", "compare")):
        assert command_line.main([group, member]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(
            f"tinyscene {group} {member} --help, or tinyscene {group} ./{member} for the path {member}"
        )
    assert command_line.main(["firmware", "./export", "--target", "host", "--out", "c", "--json"]) == 0
    assert (tmp_path / "c").is_dir()
    assert command_line.main(["firmware", "export", "export", "--as", "cmake", "--out", "folder"]) == 0
    assert (tmp_path / "folder").is_dir()


def test_the_help_says_how_a_path_is_written(capsys):
    for group, member in GROUPS_THAT_ARE_COMMANDS.items():
        assert command_line.main([group, "--help"]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert f"A path named {member} is written ./{member}." in printed


# --- option names


@pytest.mark.parametrize("row", command_line.COMMANDS, ids=lambda row: row.name)
def test_json_and_quiet_are_options_of_every_command(row):
    options = _options(row)
    assert ("--json" in options) == (row.name not in NO_JSON)
    assert ("--quiet" in options) == (row.name not in NO_QUIET)
    for flag in {"--json", "--quiet", "--overwrite", "--resume"} & set(options):
        assert options[flag].is_flag


def test_an_option_has_one_meaning():
    """The same option takes the same kind of value in every command."""
    kinds = defaultdict(set)
    for row in command_line.COMMANDS:
        for name, option in _options(row).items():
            kinds[name].add((option.metavar, option.is_flag, option.multiple))
    several = {name for name, kind in kinds.items() if len(kind) > 1}
    assert several == {"--out", "--cpu"}  # a file or a folder; kernels or a core


def test_the_page_lists_every_shared_option():
    shared = re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE)
    counts = defaultdict(int)
    for row in command_line.COMMANDS:
        for name in _options(row):
            counts[name] += 1
    assert {name for name, count in counts.items() if count > 2} - {"--help"} <= set(shared)
    assert set(shared) <= set(counts) | {"--debug"}


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["frimware", "x"], "firmware"),
        (["chek"], "check"),
        (["data", "synht"], "synth"),
        (["check", "x.tflite", "--max-sise", "1kB"], "--max-size"),
        (["run", "bundle", "--enigne", "ort"], "--engine"),
    ],
)
def test_the_error_for_a_misspelt_word_suggests_the_nearest(words, suggested, capsys):
    assert command_line.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert suggested in line


def test_quiet_lasts_for_one_call(model, capsys):
    from tinyscene.runtime.terminal import is_quiet

    assert command_line.main(["check", str(model), "--quiet"]) == 0
    assert is_quiet()
    assert command_line.main(["check", str(model)]) == 0
    assert not is_quiet()


# --- exit codes


def test_the_page_lists_the_exit_codes():
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
    stopped = [128 + number for number in stop_signals.MESSAGES]
    assert command_line.INTERRUPTED in stopped
    assert listed == sorted([0, 1, command_line.USAGE_ERROR, 3, command_line.READER_GONE, *stopped])


@pytest.mark.parametrize(
    ("words", "code"), [([], 0), (["--max-size", "1kB"], 1), (["--max-size", "much"], 2), (["--rule", "guess"], 2)]
)
def test_a_failed_verdict_and_an_error_have_different_exit_codes(words, code, model):
    ran = subprocess.run(
        [*COMMAND, "check", str(model), *words], env=_environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == code
    assert ran.stderr.count("\n") == (code == 2)


@pytest.mark.parametrize("words", [["--help"], ["check", "MODEL"], ["check", "MODEL", "--json"], ["doctor"]])
def test_a_closed_pipe_is_no_error(words, model):
    """`| head -1` closes the pipe early; here it is closed before anything is read."""
    words = [str(model) if word == "MODEL" else word for word in words]
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(
        [*COMMAND, *words], env=_environment(), stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (ran.returncode, ran.stderr) == (command_line.READER_GONE, "")


# --- colour and bars


def _on_a_terminal(words: list[str], **environment: str) -> str:
    """What a command writes to a terminal, standard error included."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words], env=_environment(TERM="xterm", **environment), stdout=slave, stderr=slave, close_fds=True
    )
    os.close(slave)
    written = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # how Linux reports the end
            break
        written += piece
    assert process.wait(timeout=60) == 0
    os.close(master)
    return written.decode()


def test_colours_on_a_terminal_unless_no_color_is_set(model):
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")
    assert colour.search(_on_a_terminal(["check", str(model)]))
    assert not colour.search(_on_a_terminal(["check", str(model)], NO_COLOR="1"))
    piped = subprocess.run(
        [*COMMAND, "check", str(model)], env=_environment(), capture_output=True, text=True, check=True
    )
    assert "\x1b" not in piped.stdout + piped.stderr


def test_a_progress_bar_on_a_terminal_unless_quiet(model):
    words = ["verify", str(model), "--targets", "numpy-double,numpy-single"]
    assert "verifying" in _on_a_terminal(words)
    assert "verifying" not in _on_a_terminal([*words, "--quiet"])


# --- completion


def _completed(*words: str) -> list[str]:
    """What bash completes the last word to."""
    typed = ["tinyscene", *words]
    request = {"COMP_WORDS": "\n".join(typed), "COMP_CWORD": str(len(words)), command_line.COMPLETING: "complete_bash"}
    ran = subprocess.run(COMMAND, env=_environment(**request), capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["fi"], ["firmware"]),
        (["data", "s"], ["synth"]),
        (["firmware", "ser"], ["serial"]),
        (["firmware", "export"], ["export"]),
        (["firmware", "./export", "--im"], ["--image"]),
        (["bench", "comp"], ["compare"]),
        (["firmware", "bundle", "--target", "cortex-m5"], ["cortex-m55"]),
        (["firmware", "bundle", "--opt"], ["--optimise"]),
        (["firmware", "export", "bundle", "--as", "cm"], ["cmake", "cmsis-pack"]),
        (["verify", "bundle", "--targets", "litert,numpy-s"], ["litert,numpy-single"]),
        (["check", "m.tflite", "--targets", "cortex-m4,cortex-m5"], ["cortex-m4,cortex-m55"]),
        (["npu", "bundle", "--targets", "ethos-u8"], ["ethos-u85-256"]),
        (["run", "bundle", "--engine", "ort"], ["ort"]),
        (["train", "p2"], ["p2-ensemble"]),
        (["train", "comp"], ["compare"]),
        (["train", "dev"], ["devices"]),
        (["recipe", "dry-run", "dcase25-b"], ["dcase25-baseline"]),
        (["nonsense", "x"], []),
    ],
    ids=" ".join,
)
def test_bash_completes(words, completions):
    assert _completed(*words) == completions


def test_a_real_bash_completes(tmp_path):
    """The script of --show-completion, sourced by bash, which then calls the command."""
    command = tmp_path / "tinyscene"
    command.write_text(f'#!/bin/sh\nexec env PYTHONPATH="{ROOT}" "{sys.executable}" -m tinyscene "$@"\n')
    command.chmod(0o755)
    script = (
        "source <(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 tinyscene --show-completion bash)\n"
        "COMP_WORDS=(tinyscene firmware bundle --target cortex-m3); COMP_CWORD=4\n"
        '_tinyscene_completion tinyscene; echo "${COMPREPLY[@]}"\n'
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "--norc", "-c", script], env=_environment(PATH=path), capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["cortex-m3", "cortex-m33"]
    assert ran.stderr == ""
