"""Files and folders appear complete or not at all; a replaced folder is never missing where names can be exchanged."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinyscene.runtime import files
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.files import (
    atomic_file,
    new_folder,
    replaced_folder,
    require_own_files,
    write_file,
    write_json,
)

READER = """
import os, sys
folder, stop = sys.argv[1:]
reads = missing = 0
print("ready", flush=True)
while reads % 64 or not os.path.exists(stop):
    reads += 1
    missing += not os.path.exists(folder)
print(reads, missing)
"""


def _without_exchange(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A C library whose renameat2 fails with ``code``, as an old kernel or another file system makes it."""

    def renameat2(*_arguments: object) -> int:
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renameat2=renameat2))


def _without_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: SimpleNamespace())


def _exchange_available(folder: Path) -> bool:
    (folder / "one").mkdir()
    (folder / "other").mkdir()
    return files._exchanged(folder / "one", folder / "other")


def _replace(place: Path, text: str) -> None:
    with replaced_folder(place) as temporary:
        (temporary / text).write_text(text)


def _fail(context: Callable[[Path], AbstractContextManager[Path]], path: Path, problem: Exception) -> None:
    with context(path):
        raise problem


def _content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_is_replaced_only_when_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "report.json"
    with atomic_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError):
        _fail(atomic_file, path, ZeroDivisionError())
    assert _content(path.parent) == {"report.json": "one"}


def test_an_existing_folder_is_not_created_again(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "data") as temporary:
        (temporary / "x").write_text("1")
        assert not (tmp_path / "a" / "data").exists()
    with pytest.raises(RuntimeFailure, match="already exists"), new_folder(tmp_path / "a" / "data"):
        pass
    with pytest.raises(ZeroDivisionError):
        _fail(new_folder, tmp_path / "b", ZeroDivisionError())
    assert _content(tmp_path / "a" / "data") == {"x": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [None, errno.ENOSYS, errno.EINVAL, 0])
def test_a_folder_is_replaced_with_and_without_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    if code == 0:
        _without_renameat2(monkeypatch)
    elif code is not None:
        _without_exchange(monkeypatch, code)
    for text in ("one", "two", "three"):
        _replace(tmp_path / "bundle", text)
        assert _content(tmp_path / "bundle") == {text: text}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_another_error_of_the_exchange_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle").mkdir()
    _without_exchange(monkeypatch, errno.EACCES)
    with pytest.raises(RuntimeFailure, match="bundle: cannot be written; got permission denied"):
        _replace(tmp_path / "bundle", "one")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_former_folder_returns_when_the_second_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace(tmp_path / "bundle", "one")
    _without_exchange(monkeypatch, errno.EINVAL)
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if source.parent != tmp_path and target == tmp_path / "bundle" and source.name == "bundle":
            raise OSError(errno.ENOSPC, "No space left on device", str(source))
        rename(source, target)

    monkeypatch.setattr(files.os, "rename", failing)
    with pytest.raises(RuntimeFailure, match="bundle: cannot be written; got no space left on the disk"):
        _replace(tmp_path / "bundle", "two")
    assert _content(tmp_path / "bundle") == {"one": "one"}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_reader_never_misses_a_folder_while_it_is_replaced_200_times(tmp_path: Path) -> None:
    if not _exchange_available(tmp_path):
        pytest.skip("no renameat2 with RENAME_EXCHANGE on this file system")
    place = tmp_path / "bundle"
    place.mkdir()
    command = [sys.executable, "-c", READER, str(place), str(tmp_path / "stop")]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    for number in range(200):
        _replace(place, str(number))
    (tmp_path / "stop").touch()
    output, _ = reader.communicate(timeout=60)
    reads, missing = map(int, output.split())
    assert reads > 0
    assert missing == 0
    assert _content(place) == {"199": "199"}


def test_a_linked_folder_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    _replace(tmp_path / "link", "1")
    assert (tmp_path / "link").is_symlink()
    assert _content(tmp_path / "real") == {"1": "1"}


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("text")
    with pytest.raises(RuntimeFailure, match="exists and is not a folder"):
        _replace(tmp_path / "thesis", "1")
    assert _content(tmp_path) == {"thesis": "text"}


@pytest.mark.parametrize("kind", [atomic_file, new_folder, replaced_folder])
def test_a_full_disk_is_a_failure_of_the_path(
    tmp_path: Path, kind: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    with pytest.raises(RuntimeFailure, match="out: cannot be written; got no space left on the disk"):
        _fail(kind, tmp_path / "out", OSError(errno.ENOSPC, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), new_folder(tmp_path / "out"):
        (tmp_path / "absent").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeFailure, match="x: cannot be written; got a part of the path is not a folder"):
        write_file(tmp_path / "file" / "x", b"")


def test_files_have_their_exact_content(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"\x00\xff")
    write_json(tmp_path / "b", {"z": 1, "a": "é"})
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_text() == '{\n "z": 1,\n "a": "\\u00e9"\n}\n'


def test_only_a_folder_of_own_files_may_be_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    require_own_files(folder, (), "a new folder")
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "model.c").write_text("")
    require_own_files(folder, ("src/model.c",), "a new folder")
    with pytest.raises(RuntimeFailure, match=r"exists and has other files; expected a new folder; got src/model\.c"):
        require_own_files(folder, ("model.c",), "a new folder")
    with pytest.raises(RuntimeFailure, match=r"exists and has other files; .*got model\.c"):
        require_own_files(folder / "src" / "model.c", (), "a new folder")
    with pytest.raises(RuntimeFailure, match="its parent folder does not exist"):
        require_own_files(tmp_path / "no" / "where", (), "a new folder")


def test_a_link_to_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    for content in (b"new", b"replaced"):
        write_file(tmp_path / "link", content)
        assert (tmp_path / "folder" / "file").read_bytes() == content
    assert (tmp_path / "link").is_symlink()


def test_nothing_but_a_file_is_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name, what in [
        ("pipe", "it is a device, a pipe or a socket"),
        ("folder", "is a folder, not a file"),
        ("loop", "symbolic links lead to one another"),
    ]:
        with pytest.raises(RuntimeFailure, match=f"{name}: cannot be written; got {what}"):
            write_file(tmp_path / name, b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "loop", "pipe"]
