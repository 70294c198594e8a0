"""Text files of labels: what is read, and what no checkpoint or bundle could hold."""

from __future__ import annotations

import pytest

from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.model import read_labels

READ = {
    "Unix": b"park\nbus\n",
    "Windows": b"park\r\nbus\r\n",
    "a byte order mark, no last line end": b"\xef\xbb\xbfpark\nbus",
}
REFUSED = {
    "UTF-16": ("park\nbus\n".encode("utf-16"), "not UTF-8 text"),
    "a null character": (b"pa\0rk\nbus\n", r"labels\[0\]: invalid text"),
    "a line of a whole book": (b"x" * 257 + b"\nbus\n", "expected 1 to 256 characters"),
    "too many": (b"park\nbus\ntram\n", "expected 2 lines, one label for each output; got 3 lines"),
    "an empty line": (b"park\n\n", "1 of them empty"),
    "a large file": (b"a\n" * 600_000, "too large"),
}


@pytest.mark.parametrize("kind", READ)
def test_read(kind, tmp_path):
    (tmp_path / "labels.txt").write_bytes(READ[kind])
    assert read_labels(tmp_path / "labels.txt", 2) == ("park", "bus")


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind, tmp_path):
    content, message = REFUSED[kind]
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(RuntimeFailure, match=message):
        read_labels(tmp_path / "labels.txt", 2)
