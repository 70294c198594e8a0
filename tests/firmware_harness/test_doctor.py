"""`tinyscene doctor`: agrees with what really opens and builds, sees what is missing, imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tinyscene import command_line
from tinyscene.firmware_harness import doctor
from tinyscene.firmware_harness.build.targets import CORTEX_M4, TARGETS
from tinyscene.firmware_harness.doctor import extras, findings, lines
from tinyscene.runtime.engines import ENGINES, available_engines

HEAVY = {"torch", "lightning", "onnx", "onnxruntime", "tensorflow", "ai_edge_litert", "tflite_micro", "scipy"}


@pytest.fixture(scope="module")
def requirements(repository: Path) -> list[str]:
    """As the metadata of a wheel of this tree would list them."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"].items()
    found = [f'{one.partition(";")[0]}; extra == "{extra}"' for extra, wanted in optional for one in wanted]
    return [*project["dependencies"], *found]


def test_every_engine_and_target_is_there_once():
    found = findings()
    assert [one.name for one in found if one.kind == "engine"] == list(ENGINES)
    assert [one.name for one in found if one.kind == "target"] == list(TARGETS)
    for one in found:
        if one.kind == "engine":
            assert one.works == (available_engines()[one.name] == "")
        assert one.works == (one.install == "")


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_a_target_that_can_be_built_works():
    """Other tests build for it; here its library is found too."""
    (found,) = [one for one in findings() if one.name == "cortex-m4"]
    assert found.works
    assert found.detail == CORTEX_M4.title


def test_without_tools_it_names_the_packages(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda _name: None)
    found = {one.name: one for one in findings() if one.kind == "target"}
    assert not any(one.works for one in found.values())
    assert found["cortex-m4"].detail == f"{CORTEX_M4.title}; without arm-none-eabi-gcc, qemu-system-arm"
    assert found["cortex-m4"].install == "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"


def test_a_compiler_without_its_library_does_not_do(tmp_path, monkeypatch):
    compiler = tmp_path / "arm-none-eabi-gcc"
    compiler.write_text('#!/bin/sh\necho "${1#-print-file-name=}"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = {one.name: one for one in findings() if one.kind == "target"}
    assert "without its C library" in found["cortex-m33"].detail


def test_every_extra_is_there_and_missing_packages_are_named(requirements, repository):
    there = {"torch": "2.13.0", "lightning": "2.6", "onnx": "1.23"}
    found = {one.name: one for one in extras(requirements, there.get)}
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    filled = {name for name, wanted in project["optional-dependencies"].items() if wanted}
    assert set(found) == filled
    assert found["train"].detail == "without tensorboard, pydantic, pyyaml, jinja2"
    assert found["train"].install == "pip install 'tinyscene[train]'"
    assert "tensorboard" in found["export"].detail  # which takes train in
    assert "torch" not in found["export"].detail


def test_what_is_not_for_this_machine_is_not_missed():
    here = f'a; sys_platform == "{sys.platform}" and extra == "x"'
    elsewhere = 'b; sys_platform == "plan9" and extra == "x"'
    (found,) = extras([here, elsewhere], {"a": "1.0"}.get)
    assert (found.works, found.detail) == (True, "a 1.0")


def test_the_command_says_the_same_twice(capsys):
    assert command_line.main(["doctor"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == list(lines(findings()))
    assert "Engines for tinyscene run and bench" in printed
    assert command_line.main(["doctor", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in record["findings"]] == [one.name for one in findings()]


def test_it_imports_nothing_heavy(repository):
    code = "import sys, tinyscene; command_line.main(['doctor', '--json']); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert not {module.partition(".")[0] for module in ran.stderr.split()} & HEAVY
