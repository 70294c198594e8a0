"""Temporary folders of this process are kept, those of dead processes are swept, everything else stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinyscene.runtime import temporaries
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.files import atomic_file
from tinyscene.runtime.temporaries import process_folder, sweep, temporary_beside, temporary_folder

OWNER = """
import os, signal, sys
from pathlib import Path
from tinyscene.runtime.temporaries import temporary_beside
with temporary_beside(Path(sys.argv[1])) as folder:
    (folder / "content").write_text("x")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.{number})
    sys.stdin.read()
"""


def _owner(path: Path, number: str, repository: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process that makes a temporary folder and is stopped or killed in its block."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(number=number), str(path)],
        cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_removed_with_its_block(tmp_path: Path) -> None:
    with temporary_beside(tmp_path / "out") as folder:
        (folder / "content").write_text("x")
        sweep(tmp_path)
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_living_process_stays_and_that_of_a_killed_one_goes(tmp_path: Path, repository: Path) -> None:
    living, kept = _owner(tmp_path / "living", "SIGCONT", repository)
    killed, stale = _owner(tmp_path / "killed", "SIGKILL", repository)
    killed.wait()
    assert stale.is_dir()
    with atomic_file(tmp_path / "report.json") as temporary:  # the first one in this folder sweeps it
        temporary.write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([kept.name, "report.json"])
    living.communicate("")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    killed.communicate()


def test_links_and_other_names_stay(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "content").write_text("x")
    (tmp_path / "a.tinyscene-1-01234567.part").symlink_to(precious)
    (tmp_path / "b.tinyscene-1-01234567.part").write_text("a file")
    for name in ("c.tinyscene-1-01234567", "tinyscene-1-01234567.part", "c.tinyscene-1-0123456.part", "c.part"):
        (tmp_path / name).mkdir()
    stale = tmp_path / "d.tinyscene-1-01234567.part"
    stale.mkdir()
    (stale / "link").symlink_to(precious)
    before = {path.name for path in tmp_path.iterdir()}
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == before - {stale.name}
    assert (precious / "content").read_text() == "x"


@pytest.mark.parametrize("replaced", [False, True])
def test_the_former_content_returns_if_the_name_is_missing(tmp_path: Path, replaced: bool) -> None:
    """After SIGKILL between the two renames that replace a folder where names cannot be exchanged."""
    stale = tmp_path / "bundle.tinyscene-1-01234567.part"
    (stale / "bundle.former").mkdir(parents=True)
    (stale / "bundle.former" / "version").write_text("one")
    if replaced:
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "version").write_text("two")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "version").read_text() == ("two" if replaced else "one")


def test_a_folder_that_another_process_swept_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, calls = temporaries._lock, 0

    def swept(folder: Path) -> int | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise BlockingIOError
        if calls == 2:
            folder.rmdir()
        return lock(folder)

    monkeypatch.setattr(temporaries, "_lock", swept)
    with temporary_beside(tmp_path / "out") as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert calls == 3


def test_the_folder_of_the_process_ends_with_it(tmp_path: Path, repository: Path) -> None:
    code = "from tinyscene.runtime.temporaries import process_folder as f; assert f('a') == f('a'); f('b')"
    subprocess.run(
        [sys.executable, "-c", code], cwd=repository, env={**os.environ, "TMPDIR": str(tmp_path)}, check=True
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [lambda: temporary_folder("x").__enter__(), lambda: process_folder("unusable")])
def test_a_place_that_cannot_be_written_is_named(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporaries.tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(RuntimeFailure, match=r"missing: cannot be written; got no such file or folder;.*set TMPDIR"):
        make()
