"""README.md is walked through: its commands run in its order, in one scratch folder, each on what those before made.

Some are not run here: `make` targets are expanded only, `tinyscene demo` takes minutes, `firmware serial` never ends,
and `flash` wants a board. The last three have tests of their own, and are still held to take the options shown.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tinyscene

README = Path(tinyscene.__file__).with_name("README.md")
BLOCK = re.compile(r"^```(?:console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPE = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Documented:
    """One command as README.md shows it, and the number of its line there."""

    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)


def _documented(text: str) -> Iterator[Documented]:
    for block in BLOCK.finditer(text):
        first_line = text.count("\n", 0, block.start()) + 2
        for offset, line in enumerate(block[1].splitlines()):
            if line.startswith("$ "):
                yield Documented(first_line + offset, tuple(line.removeprefix("$ ").split()))


COMMANDS = list(_documented(README.read_text()))
NOT_WALKED = {"demo", "firmware serial", "flash"}


def _row(documented: Documented) -> tinyscene.Command:
    said = documented.words[1:]
    return next(row for row in tinyscene.COMMANDS if said[: len(row.name.split())] == tuple(row.name.split()))


WALK = [c for c in COMMANDS if c.words[0] == "tinyscene" and _row(c).name not in NOT_WALKED]


def _skip_if_unwritten(target: str) -> None:
    module = target.partition(":")[0]
    if not README.parent.joinpath(*module.split(".")).with_suffix(".py").exists():
        pytest.skip(f"{module} is not written yet")


def _write_clip(path: Path) -> None:
    noise = np.random.default_rng(5).normal(0.0, 0.1, 2 * 44_100)
    soundfile.write(path, noise, 44_100, subtype="PCM_16")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    """The folder a reader would stand in: the recipe shown, one epoch long, and a clip of his own."""
    folder = tmp_path_factory.mktemp("readme")
    (recipe,) = RECIPE.findall(README.read_text())
    (folder / "quick.yaml").write_text(re.sub(r"epochs: \d+", "epochs: 1", recipe))
    _write_clip(folder / "clip.wav")
    return folder


def test_commands_are_found_with_their_lines():
    text = "a\n```console\n$ make demo\nprinted\n$ tinyscene run x\n```\n```python\n$ no\n```\n"
    assert [(found.line, str(found)) for found in _documented(text)] == [(3, "make demo"), (5, "tinyscene run x")]


def test_every_command_is_documented():
    shown = {_row(documented).name for documented in COMMANDS if documented.words[0] == "tinyscene"}
    assert shown == {row.name for row in tinyscene.COMMANDS}


def test_only_known_programs_are_shown():
    assert {documented.words[0] for documented in COMMANDS} == {"make", "tinyscene"}


@pytest.mark.parametrize("documented", [c for c in COMMANDS if c.words[0] == "make"], ids=str)
def test_make_targets(documented, repository):
    """These tests are themselves run by make, so a target is only expanded: its recipe must exist and call us."""
    # Make runs a line that holds $(MAKE) or starts with + even when dry, and here that would start this test again.
    assert not re.search(r"^\t.*\$[({]MAKE[)}]|^\t[@-]*\+", (repository / "Makefile").read_text(), re.MULTILINE)
    shown = subprocess.run(
        ["make", "--dry-run", *documented.words[1:]],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert ".ci/setup" in shown.stdout
    called = {"demo": "tinyscene demo", "test": "-m pytest"}[documented.words[1]]
    assert called in shown.stdout


@pytest.mark.parametrize("documented", [c for c in COMMANDS if c.words[0] == "tinyscene"], ids=str)
def test_the_command_takes_these_options(documented, repository):
    """Asking for help makes the parser name its options; each one shown in README.md must be among them."""
    row = _row(documented)
    _skip_if_unwritten(row.target)
    answer = subprocess.run(
        [sys.executable, "-m", "tinyscene", *row.name.split(), "--help"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    for word in documented.words:
        if word.startswith("--"):
            assert re.search(rf"(?<!\S){re.escape(word)}(?![\w-])", answer.stdout), (
                f"README.md:{documented.line}: {word}"
            )


@pytest.mark.parametrize("documented", WALK, ids=str)
def test_walk_through(documented, scratch, needs_tool, request):
    _skip_if_unwritten(_row(documented).target)
    if "bundle" in documented.words:
        _skip_if_unwritten("export.cli:export")  # the command that makes it
    if "cortex-m4" in documented.words:
        needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
    if "cpm23.ckpt" in documented.words:
        shutil.copy(request.getfixturevalue("shared_data") / "cpm23" / "cpm23.ckpt", scratch)
    answer = subprocess.run(
        [sys.executable, "-m", "tinyscene", *documented.words[1:]],
        cwd=scratch,
        env={**os.environ, "PYTHONPATH": str(README.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, (
        f"README.md:{documented.line}: {documented}\n{answer.stdout[-6000:]}{answer.stderr[-2000:]}"
    )
    assert answer.stdout


def test_files_named_in_the_text_exist(repository):
    for name in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (repository / name).exists(), name
