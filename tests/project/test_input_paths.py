"""Paths of inputs that are pipes, devices, folders or nothing: each is named as what it is, and none blocks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinyscene import command_line

COMMANDS = [
    "check PATH", "check PATH.tflite", "check PATH.onnx", "check PATH.pt", "inspect PATH", "inspect PATH.tflite",
    "inspect PATH.onnx", "inspect PATH.pt", "import PATH.pt", "import PATH.safetensors --frontend cpm23",
    "export PATH.pt --ptq WORK --out WORK/out", "recipe dry-run PATH.yaml", "verify PATH.tflite", "npu PATH.tflite",
]  # fmt: skip
KINDS = {"pipe": "got a pipe", "device": "got a device", "nothing": "no such file"}


def place(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_is_refused_as_what_it_is(
    command: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = command.replace("PATH", str(tmp_path / "model")).replace("WORK", str(tmp_path)).split()
    place(Path(words[1] if words[0] != "recipe" else words[2]), kind)
    assert command_line.main(words) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert KINDS[kind] in lines[0]
    assert kind == "nothing" or "not a regular file" in lines[0]
