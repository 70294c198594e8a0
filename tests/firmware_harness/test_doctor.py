"""`tinyscene doctor`: agrees with the engines and targets that work, lists what is missing, imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest

from tinyscene import command_line
from tinyscene.export.targets.environments import PACKAGES, cached_folder
from tinyscene.firmware_harness import doctor
from tinyscene.firmware_harness.build.targets import CORTEX_M4, TARGETS
from tinyscene.firmware_harness.doctor import extras, findings, lines
from tinyscene.runtime.cache import ENVIRONMENT_COMPLETE, environment_folder
from tinyscene.runtime.engines import ENGINES, available_engines
from tinyscene.runtime.install_hint import extras_of_metadata, install_hint

HEAVY = {"torch", "lightning", "onnx", "onnxruntime", "tensorflow", "ai_edge_litert", "tflite_micro", "scipy"}


def test_every_engine_and_target_is_listed_once():
    rows = findings()
    assert [row.name for row in rows if row.kind == "engine"] == list(ENGINES)
    assert [row.name for row in rows if row.kind == "target"] == list(TARGETS)
    for row in rows:
        if row.kind == "engine":
            assert row.works == (available_engines()[row.name] == "")
        assert row.works == (row.install == "")


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_a_target_that_can_be_built_works():
    """Other tests build for this target; doctor finds its compiler, C library and emulator."""
    (row,) = [row for row in findings() if row.name == "cortex-m4"]
    assert row.works
    assert row.detail == CORTEX_M4.title


def test_without_tools_the_packages_are_named(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda _name: None)
    targets = {row.name: row for row in findings() if row.kind == "target"}
    assert not any(row.works for row in targets.values())
    assert targets["cortex-m4"].detail == f"{CORTEX_M4.title}; not installed: arm-none-eabi-gcc, qemu-system-arm"
    assert targets["cortex-m4"].install == "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"


def test_a_compiler_without_its_library_is_a_missing_target(tmp_path, monkeypatch):
    compiler = tmp_path / "arm-none-eabi-gcc"
    compiler.write_text('#!/bin/sh\necho "${1#-print-file-name=}"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    targets = {row.name: row for row in findings() if row.kind == "target"}
    assert "not installed: its C library" in targets["cortex-m33"].detail


def test_every_extra_with_requirements_is_listed_with_its_missing_packages(repository):
    installed = {"torch": "2.13.0", "lightning": "2.6", "onnx": "1.23"}
    optional = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = {row.name: row for row in extras(optional, installed.get)}
    assert set(rows) == {name for name, requirements in optional.items() if requirements}
    assert rows["train"].detail == "not installed: tensorboard, pydantic, pyyaml, jinja2, scipy"
    assert rows["train"].install == install_hint("train")
    assert "tensorboard" in rows["export"].detail  # export includes train
    assert "torch" not in rows["export"].detail


def test_requirements_of_other_machines_are_left_out():
    here = f'a; sys_platform == "{sys.platform}" and extra == "x"'
    elsewhere = 'b; sys_platform == "plan9" and extra == "x"'
    (row,) = extras(extras_of_metadata([here, elsewhere]), {"a": "1.0"}.get)
    assert (row.works, row.detail) == (True, "a 1.0")


def test_tensorflow_in_an_environment_of_its_own_works(tmp_path, monkeypatch):
    """TensorFlow runs in a process of its own: the cached environment serves as well as the extra."""
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path))
    tensorflow = {"tensorflow": ["tensorflow>=2.18"]}
    (row,) = extras(tensorflow, lambda _: None)
    assert not row.works
    environment = environment_folder("tensorflow==2.21.0")
    environment.mkdir()
    assert not extras(tensorflow, lambda _: None)[0].works, "its installation has not finished"
    (environment / ENVIRONMENT_COMPLETE).touch()
    (row,) = extras(tensorflow, lambda _: None)
    assert row.works
    assert row.detail == f"tensorflow 2.21.0 (in an environment of its own, {environment})"
    assert not extras({"mic": ["sounddevice"]}, lambda _: None)[0].works


def test_every_environment_without_an_extra_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path))
    for_tests_only, of_an_extra = "idf_component_manager", "tensorflow"
    assert {*doctor.ENVIRONMENTS.values(), for_tests_only, of_an_extra} == set(PACKAGES)
    environments = {row.name: row for row in findings() if row.kind == "environment"}
    assert environments["web"].install == "python -m tinyscene.export.targets.environments web"
    for module in doctor.ENVIRONMENTS.values():
        folder = cached_folder(module)
        folder.mkdir()
        (folder / ENVIRONMENT_COMPLETE).touch()
    environments = {row.name: row for row in findings() if row.kind == "environment"}
    assert all(row.works for row in environments.values())


def test_text_and_json_have_the_same_findings(capsys):
    assert command_line.main(["doctor"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == list(lines(findings()))
    assert "Engines for tinyscene run and bench" in printed
    assert command_line.main(["doctor", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in record["findings"]] == [row.name for row in findings()]


def test_it_imports_nothing_heavy(repository):
    code = "import sys; from tinyscene.command_line import main; main(['doctor']); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert not {module.partition(".")[0] for module in ran.stderr.split()} & HEAVY
