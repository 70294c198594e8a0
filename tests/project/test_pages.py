"""Every command on the pages runs, in the order of the pages, in one scratch folder.

A command that several pages show runs once. A block that is not run has a comment with the reason right above it; a
block with neither `$` nor reason is refused. Two pages have tests of their own. Files that a page shows (`quick.yaml`)
are written as shown. Python blocks and file names are checked too: imports resolve, files exist.
"""

from __future__ import annotations

import importlib.util
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
from tests.graphs import small_net
from tests.project.imports import unresolved
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import WASM
from tinyscene.runtime.tflite_write import to_tflite

ROOT = Path(tinyscene.__file__).parent.parent
TESTED_ELSEWHERE = {
    "docs/ci.md": "tests/project/test_ci_page.py",
    "docs/shipping-firmware.md": "tests/firmware_harness/ship/test_page.py",
}
FIRST = ("README.md", "docs/tutorial.md")  # later pages use the files that these write
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))
PAGES = [*FIRST, *(page for page in DOCS if page not in FIRST), "CONTRIBUTING.md"]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<kind>console|sh|bash|shell)\n(?P<text>.*?)^```$", re.M | re.S
)
PYTHON = re.compile(r"^```python\n(?P<text>.*?)^```$", re.M | re.S)
NAMED = re.compile(
    r"`((?:runtime|training|export|firmware_harness|tests|benchmarks|docker|docs|tinyscene)/[\w./-]+\.\w+)`"
)
FILE = re.compile(r"`(?P<name>[\w-]+\.(?:py|yaml))`[^\n`]*:\n\n```(?:python|yaml)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Shown:
    """A command on a page, with its line number there, and the reason if it is not run."""

    page: str
    line: int
    command: str
    why_not: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.command}"

    @property
    def words(self) -> list[str]:
        return self.command.split()


def _shown(page: str, text: str) -> Iterator[Shown]:
    for block in BLOCK.finditer(text):
        first_line = text.count("\n", 0, block.start("text")) + 1
        for offset, line in enumerate(block["text"].splitlines()):
            assert (block["kind"], line[:2]) == ("console", "$ "), f"{page}:{first_line + offset}: no '$ '"
            yield Shown(page, first_line + offset, line.removeprefix("$ "), block["why"] or "")


SHOWN = [shown for page in PAGES if page not in TESTED_ELSEWHERE for shown in _shown(page, (ROOT / page).read_text())]
FIRST_SHOWN = {shown.command: shown for shown in reversed(SHOWN) if not shown.why_not}
RUN = [shown for shown in SHOWN if FIRST_SHOWN.get(shown.command) is shown]
NOT_RUN = [shown for shown in SHOWN if shown.why_not]


def _program(shown: Shown) -> str:
    return Path(shown.words[0]).name


def _row(shown: Shown) -> command_line.Command:
    arguments = shown.words[[Path(word).name for word in shown.words].index("tinyscene") + 1 :]
    return next(row for row in command_line.COMMANDS if arguments[: len(row.name.split())] == row.name.split())


def _noise(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(path)))
    soundfile.write(path, rng.normal(0.0, 0.1, int(seconds * 44_100)), 44_100, subtype="PCM_16")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    """A reader's folder: files as the pages show them, with one epoch, and recordings."""
    folder = tmp_path_factory.mktemp("pages")
    for page in PAGES:
        for file in FILE.finditer((ROOT / page).read_text()):
            text = re.sub(r"epochs: \d+", "epochs: 1", file["text"])
            path = folder / file["name"]
            assert not path.exists() or path.read_text() == text, f"{page}: {file['name']} differs from an earlier page"
            path.write_text(text)
    _noise(folder / "clip.wav", 2.0)
    for scene in ("kitchen", "street"):
        for name in ("monday.wav", "tuesday.wav"):
            _noise(folder / "recordings" / scene / name, 2.0)
    (folder / "model.tflite").write_bytes(to_tflite(small_net(np.random.default_rng(2), grn=False)))
    programs = folder / ".bin"
    programs.mkdir()
    python = f'exec env PYTHONPATH="{ROOT}:$PYTHONPATH" "{sys.executable}"'
    for name, call in {"tinyscene": f"{python} -m tinyscene", "python3": python}.items():
        (programs / name).write_text(f'#!/bin/sh\n{call} "$@"\n')
        (programs / name).chmod(0o755)
    return folder


# --- what the pages contain


def test_commands_are_found_with_their_lines():
    text = (
        "a\n```console\n$ tinyscene run x\n```\n<!-- not run: no board -->\n```console\n$ b\n```\n```python\nno\n```\n"
    )
    shown = list(_shown("p", text))
    assert [(each.line, each.command, each.why_not) for each in shown] == [
        (3, "tinyscene run x", ""),
        (7, "b", "no board"),
    ]


@pytest.mark.parametrize("text", ["```sh\ntinyscene run x\n```\n", "```console\n$ run\nits output\n```\n"])
def test_a_block_that_cannot_be_run_is_refused(text):
    with pytest.raises(AssertionError, match="p:"):
        list(_shown("p", text))


@pytest.mark.parametrize("page", TESTED_ELSEWHERE)
def test_pages_with_tests_of_their_own(page):
    assert f'"{Path(page).name}"' in (ROOT / TESTED_ELSEWHERE[page]).read_text()


def test_the_readme_shows_every_command():
    named = {_row(each).name for each in SHOWN if each.page == "README.md" and _program(each) == "tinyscene"}
    assert named == {row.name for row in command_line.COMMANDS}


def test_every_page_is_on_the_index():
    linked = set(re.findall(r"\]\(([\w.-]+\.md)\)", (ROOT / "docs" / "index.md").read_text()))
    assert linked == {path.name for path in ROOT.glob("docs/*.md")} - {"index.md"}


def _anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_have_targets(page):
    text = (ROOT / page).read_text()
    for name, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), f"{page}: {name}"
        assert not anchor or anchor in _anchors(target.read_text()), f"{page}: {name}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    assert [name for name in NAMED.findall((ROOT / page).read_text()) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("shown", NOT_RUN, ids=str)
def test_tests_that_a_reason_names_exist(shown):
    names = re.findall(r"\btests/[\w/]+(?:\.py)?", shown.why_not)
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, ".ci/run", "Makefile", "action.yml"])
def test_modules_that_a_page_runs_exist(page):
    modules = re.findall(r"python -m (tinyscene[\w.]*)", (ROOT / page).read_text())
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


@pytest.mark.parametrize("page", [page for page in PAGES if PYTHON.search((ROOT / page).read_text())])
def test_imports_of_python_blocks_resolve(page):
    for block in PYTHON.finditer((ROOT / page).read_text()):
        assert unresolved(block["text"]) == [], page


@pytest.mark.parametrize("page", ["README.md", "docs/how-to-raspberry-pi.md"])
def test_the_library_example_runs(page, tiny_bundle, tmp_path, monkeypatch, capsys):
    (block,) = PYTHON.finditer((ROOT / page).read_text())
    (tmp_path / "bundle").symlink_to(tiny_bundle.path)
    monkeypatch.chdir(tmp_path)
    samples = np.random.default_rng(0).normal(0.0, 0.1, 88_200).astype(np.float32)
    exec(block["text"], {"samples": samples, "piece": samples})  # from our own page
    printed = capsys.readouterr().out
    assert any(label in printed for label in tiny_bundle.labels)


def test_an_import_that_does_not_resolve_is_found():
    source = "import numpy\nfrom tinyscene import SceneClassifier, nothing\nfrom tinyscene.runtime import ops, cache\n"
    assert unresolved(source) == ["line 2: tinyscene has no nothing"]
    assert unresolved("import tinyscene.nowhere\n") == ["line 1: No module named 'tinyscene.nowhere'"]


# --- what is not run


@pytest.mark.parametrize("shown", [s for s in NOT_RUN if "tinyscene" in s.words and "venv" not in s.words], ids=str)
def test_a_command_that_is_not_run_has_these_options(shown, repository):
    row = _row(shown)
    ran = subprocess.run(
        [sys.executable, "-m", "tinyscene", *row.name.split(), "--help"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    for word in shown.words[shown.words.index("tinyscene") :]:
        if word.startswith("--"):
            assert re.search(rf"(?<!\S){re.escape(word)}(?![\w-])", ran.stdout), f"{shown}: {word}"


@pytest.mark.parametrize("target", sorted({s.words[1] for s in SHOWN if s.words[0] == "make"}))
def test_make_targets(target, repository):
    """A target is only expanded, because make runs these tests: its recipe must exist and call the set-up."""
    # Make runs a line with $(MAKE) or a leading + even in a dry run, which would start this test again.
    assert not re.search(r"^\t.*\$[({]MAKE[)}]|^\t[@-]*\+", (repository / "Makefile").read_text(), re.MULTILINE)
    ran = subprocess.run(
        ["make", "--dry-run", target], cwd=repository, capture_output=True, text=True, check=True, timeout=20
    )
    assert ".ci/setup" in ran.stdout
    assert {"demo": "tinyscene demo", "test": "-m pytest"}[target] in ran.stdout


# --- what is run


@pytest.mark.parametrize("shown", RUN, ids=str)
def test_a_command_runs(shown, scratch, needs_tool, request):
    if re.search(r"cortex|--tune", shown.command) or "tinyscene firmware" in shown.command:
        needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
    if re.search(r"wasm|tinyscene page", shown.command):
        needs_tool(*WASM.executables)
    if "cpm23.ckpt" in shown.words and not (scratch / "cpm23.ckpt").exists():
        shutil.copy(request.getfixturevalue("shared_data") / "cpm23" / "cpm23.ckpt", scratch)
    path = f"{scratch / '.bin'}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{shown.command}\nexit $?"],  # a last line, or bash becomes the command
        cwd=scratch,
        env={**os.environ, "PATH": path, "TINYSCENE_CACHE": str(scratch / ".cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{shown}\n{ran.stdout[-6000:]}{ran.stderr[-2000:]}"
    assert ran.stdout or ran.stderr
