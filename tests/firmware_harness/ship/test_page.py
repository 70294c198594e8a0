"""docs/shipping-firmware.md: its commands run, its C compiles."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tinyscene import command_line
from tinyscene.runtime.bundle import Bundle


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm", "gcc")
def test_the_page_works(
    scenes: Bundle, alone: dict[str, Bundle], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (repository / "docs" / "shipping-firmware.md").read_text()
    (tmp_path / "bundle").symlink_to(scenes.path)
    (tmp_path / "network.tflite").symlink_to(alone["image"].path)  # a model is read by its content
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    run = re.sub(r"^<!-- not run: .*? -->\n```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    commands = re.findall(r"^\$ tinyscene (.*)$", run, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        assert command_line.main(command.split()) == 0
    blocks = re.findall(r"^```c\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for number, block in enumerate(blocks):
        source = tmp_path / f"page_{number}.c"
        source.write_text(block)
        strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        subprocess.run(["gcc", *strict, "-Iasc/include", "-Iasc/serial", "-Idigit/include", source], check=True)
    assert (tmp_path / "firmware" / "firmware.hex").is_file()
