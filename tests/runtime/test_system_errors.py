"""Errors of the system are found below other exceptions and in messages of programs, and keep words of their own."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.files import write_file
from tinyscene.runtime.system_errors import KINDS, about, cause_in_system, corrected, mentioned_in, reason, system_error


def test_the_cause_below_other_exceptions_is_found() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    library = RuntimeError("PytorchStreamWriter failed writing file data/0")  # as PyTorch makes of it
    library.__context__ = ValueError("in between")
    library.__context__.__cause__ = full
    assert cause_in_system(library) is full
    assert cause_in_system(ValueError("no")) is None
    with pytest.raises(MemoryError) as too_large:
        np.empty(2**58, np.float64)
    assert cause_in_system(too_large.value).errno == errno.ENOMEM


def test_a_reader_that_blames_the_file_is_corrected() -> None:
    """Whatever a reader makes of it, too many open files say nothing about a model."""
    blamed = RuntimeFailure("m.onnx", "not a readable model", next_step="download it again")
    assert corrected(blamed) is blamed
    blamed.__cause__ = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    assert str(corrected(blamed)) == "m.onnx: too many open files; next: raise the limit with ulimit -n"
    blamed.__cause__ = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    assert corrected(blamed) is blamed
    named = RuntimeFailure("out", "cannot be written", got="no space left on the disk")
    named.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert corrected(named) is named


def test_messages_of_programs_are_recognised() -> None:
    assert mentioned_in("as: Fatal error: can't write 12 bytes: No space left on device").errno == errno.ENOSPC
    assert mentioned_in("model.c:1: error: expected ';'") is None
    assert mentioned_in("", -signal.SIGXFSZ).errno == errno.EFBIG


def test_every_kind_has_a_next_step_and_libraries_keep_their_words(tmp_path: Path) -> None:
    for code in KINDS:
        line = str(system_error("a", OSError(code, os.strerror(code))))
        assert line == f"a: {KINDS[code].what}; next: {KINDS[code].next_step}"
    own = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    assert reason(own).next_step == "set TMPDIR to a folder with free space"
    assert reason(OSError(errno.ECONNRESET, "reset")).what == "reset"
    with pytest.raises(OSError, match="model") as named, about(tmp_path / "model"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert named.value.filename == str(tmp_path / "model")


@pytest.mark.parametrize(("name", "message"), [("x" * 300, "the name is too long"), ("f/x", "not a folder")])
def test_a_path_that_cannot_be_written(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(RuntimeFailure, match=f"cannot be written; got .*{message}"):
        write_file(tmp_path / name, b"")
