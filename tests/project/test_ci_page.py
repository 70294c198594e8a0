"""docs/ci.md works: its commands, its Makefile, and its workflows in a scratch repository.

The steps of the action and of the workflow are executed as on a hosted runner (:mod:`tests.project.workflow`), without
Python's set-up. The quick tests use the current environment in place of the one that the action installs; the slow
tests install tinyscene from a local copy of the tree in place of the address on the page.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

import tinyscene
from tests.export.check.relabelled import relabelled
from tests.graphs import small_net
from tests.project.workflow import Outcome, Runner, outside_environment
from tests.training.layout import SCENES, write_layout
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import CORTEX_M4
from tinyscene.runtime.tflite_write import to_tflite

ROOT = Path(tinyscene.__file__).parent.parent
PAGE = (ROOT / "docs" / "ci.md").read_text()
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
SETUP_PYTHON = "actions/setup-python@v5"
TAG = f"v{tinyscene.__version__}"
ADDRESS = "https://github.com/OWNER/tinyscene"
needs_m4 = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def _git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory, repository) -> Path:
    """This tree as a hosted repository with the tag of its version."""
    folder = tmp_path_factory.mktemp("hosted") / "tinyscene"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    ran = subprocess.run(listed, cwd=repository, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, ran.stdout.split("\0")):
        source = repository / name
        if source.is_symlink() or source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name, follow_symlinks=False)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "all")
    _git(folder, "tag", TAG)
    return folder


@pytest.fixture(scope="module")
def product(tmp_path_factory, tiny_bundle) -> Path:
    """A model, a bundle and labelled recordings, as the page assumes."""
    folder = tmp_path_factory.mktemp("product")
    (folder / "scene.tflite").write_bytes(to_tflite(small_net(np.random.default_rng(2), grn=False)))
    labels = (*SCENES, *(f"scene_{i}" for i in range(7)))
    relabelled(folder / "bundle", tiny_bundle, labels, {})
    write_layout(folder / "scenes", places=2, clips=1)
    return folder


@pytest.fixture
def scratch(product, tmp_path) -> Path:
    """The repository of a product, a new one for each test."""
    folder = Path(shutil.copytree(product, tmp_path / "scratch"))
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    return folder


@pytest.fixture
def programs(tmp_path) -> Path:
    """A folder of programs: this Python, and the command of this tree."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = f'exec env PYTHONPATH="{ROOT}" "{sys.executable}" -P'
    for name, command in {"python": python, "tinyscene": f"{python} -m tinyscene"}.items():
        (folder / name).write_text(f'#!/bin/sh\n{command} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def check_action(scratch, programs, tmp_path, repository):
    """A function that runs the action's steps with the given inputs, in the current environment."""

    use_current = f'mkdir -p "$RUNNER_TEMP/tinyscene"; ln -sfn {programs} "$RUNNER_TEMP/tinyscene/bin"'

    def run(**inputs: str) -> Outcome:
        runner = Runner(
            scratch,
            tmp_path,
            outside_environment(tmp_path),
            stubs={SETUP_PYTHON: {"python-path": str(programs / "python")}},
            replaced={"Install tinyscene": use_current},
        )
        return runner.action(repository, {name.replace("_", "-"): value for name, value in inputs.items()})

    return run


# --- the page


def _bash(folder: Path, script: str, environment: dict[str, str]) -> str:
    ran = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    return ran.stdout


@needs_m4
def test_the_commands(scratch, programs, tmp_path):
    commands = re.findall(r"^\$ (.*)$", "".join(_blocks("console")), re.MULTILINE)
    assert len(commands) == 7
    _bash(scratch, "\n".join(commands), outside_environment(tmp_path, programs))
    assert ElementTree.parse(scratch / "check.xml").getroot().get("failures") == "0"
    (line,) = _blocks("json")
    assert line.strip().replace("220960", "0") in re.sub(r"\d{4,}", "0", (scratch / "budget.json").read_text())


@pytest.mark.needs_tool("make")
def test_the_makefile(scratch, programs, tmp_path):
    (makefile,) = _blocks("make")
    (scratch / "Makefile").write_text(makefile)
    _bash(scratch, "make budget\nmake check", outside_environment(tmp_path, programs))
    assert (scratch / "check.xml").exists()


def test_the_page_has_the_current_version():
    assert re.findall(r"(?:OWNER/tinyscene@|rev: )([\w.]+)", PAGE) == [TAG, TAG, TAG]
    assert f"@{TAG}`" in (ROOT / "action.yml").read_text()


def test_the_tables_name_every_input_and_output():
    named = [re.findall(r"`([a-z-]+)`", row.split("|")[1]) for row in PAGE.splitlines() if row.startswith("| `")]
    flat = {name for row in named for name in row}
    assert set(ACTION["inputs"]) | set(ACTION["outputs"]) <= flat
    defaults = {name: described.get("default") for name, described in ACTION["inputs"].items()}
    assert "| `128kB`, `30M`, `dcase` |" in PAGE
    assert (defaults["max-size"], defaults["max-macs"], defaults["rule"]) == ("128kB", "30M", "dcase")
    assert f"| `python-version` | `{defaults['python-version']}` |" in PAGE


# --- the action


def test_inputs_are_passed_to_the_shell_as_variables_only():
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_a_model_within_its_limits(check_action):
    outcome = check_action(model="scene.tflite")
    assert outcome.failed == ""
    assert outcome.outputs["verdict"] == "pass"
    assert f"size: {int(outcome.outputs['bytes']):,} B <= 128,000 B" in outcome.log
    assert f"macs: {int(outcome.outputs['macs']):,} MAC <= 30,000,000 MAC" in outcome.log
    assert outcome.summary.startswith("### scene.tflite\n")
    assert outcome.summary == Path(outcome.outputs["markdown"]).read_text()
    assert ElementTree.parse(outcome.outputs["junit"]).getroot().get("failures") == "0"
    assert Path(outcome.outputs["json"]).is_file()
    assert "::error" not in outcome.log


def test_a_model_beyond_a_limit(check_action):
    outcome = check_action(model="bundle", max_size="1kB", rule="stored")
    assert outcome.failed == "Check the model: exit code 1"
    assert outcome.outputs["verdict"] == "fail"
    (note,) = re.findall(r"^::error title=tinyscene check::(.*)$", outcome.log, re.MULTILINE)
    assert note.startswith("size: ")
    assert "rule stored" in note
    assert "**FAIL**" in outcome.summary
    assert ElementTree.parse(outcome.outputs["junit"]).getroot().get("failures") == "1"


def test_a_model_worse_than_its_baseline(check_action, scratch):
    words = ["check", str(scratch / "bundle"), "--data", str(scratch / "scenes")]
    assert command_line.main([*words, "--write-baseline", str(scratch / "budget.json")]) == 0
    given = {"model": "bundle", "baseline": "budget.json"}
    assert check_action(**given, data="scenes").outputs["verdict"] == "pass"
    outcome = check_action(**given)
    assert outcome.outputs["verdict"] == "fail"
    assert "::error title=tinyscene check::accuracy (6 test clips" in outcome.log


@pytest.mark.parametrize("model", ["nowhere.tflite", "a b.tflite", "$(touch pwned).tflite", '";touch pwned;".tflite'])
def test_a_missing_model(check_action, scratch, model):
    outcome = check_action(model=model)
    assert outcome.failed == "Check the model: exit code 2"
    assert outcome.outputs == {"verdict": "error", **dict.fromkeys(("bytes", "macs", "json", "junit", "markdown"), "")}
    assert f"::error title=tinyscene check::{model}: no such file" in outcome.log
    assert "no such file" in outcome.summary
    assert not (scratch / "pwned").exists()


# --- with an installation


def _hosted_environment(home: Path, hosted: Path, *first_on_path: Path) -> dict[str, str]:
    """The variables of a job, with the page's address redirected to the local copy."""
    redirect = {"GIT_CONFIG_KEY_0": f"url.file://{hosted}.insteadOf", "GIT_CONFIG_VALUE_0": ADDRESS}
    home.mkdir(exist_ok=True)
    return outside_environment(home, *first_on_path, GIT_CONFIG_COUNT="1", **redirect)


def _environment(folder: Path) -> Path:
    """Create a virtual environment and return its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / "bin"


def _skip_without_index(log: str) -> None:
    if "No matching distribution" in log:
        pytest.skip("package index is missing")


@pytest.mark.slow
@needs_m4
def test_the_github_workflow(scratch, hosted, tmp_path):
    (workflow,) = [block for block in _blocks("yaml") if "runs-on" in block]
    (job,) = yaml.safe_load(workflow)["jobs"].values()
    model = ["check", str(scratch / "scene.tflite"), "--write-baseline", str(scratch / "budget.json")]
    assert command_line.main([*model, "--targets", "cortex-m4"]) == 0
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sudo").write_text(f'#!/bin/sh\necho "$@" >"{tmp_path}/sudo"\n')
    (programs / "sudo").chmod(0o755)
    runner = Runner(
        scratch,
        tmp_path,
        _hosted_environment(tmp_path / "home", hosted, programs),
        stubs={
            "actions/checkout@v4": {},
            "actions/upload-artifact@v4": {},
            SETUP_PYTHON: {"python-path": sys.executable},
        },
        actions={f"OWNER/tinyscene@{TAG}": hosted},
    )
    outcome = runner.steps(job["steps"], {}, scratch)
    _skip_without_index(outcome.log)
    assert outcome.failed == "", outcome.log[-4000:]
    assert outcome.steps["budget"]["verdict"] == "pass"
    assert "instructions (cortex-m4), baseline" in outcome.summary
    assert f"\n{outcome.steps['budget']['bytes']} B and {outcome.steps['budget']['macs']} MACs\n" in outcome.log
    installed = set((tmp_path / "sudo").read_text().split()) - {"apt-get", "install", "--yes"}
    assert CORTEX_M4.emulator is not None
    assert installed == {*CORTEX_M4.toolchain.package.split(), CORTEX_M4.emulator.package}


@pytest.mark.slow
def test_the_gitlab_job(scratch, hosted, tmp_path):
    (job,) = [yaml.safe_load(block)["budget"] for block in _blocks("yaml") if "image:" in block]
    programs = _environment(tmp_path / "env")
    environment = _hosted_environment(tmp_path / "home", hosted, programs)
    ran = subprocess.run(
        ["bash", "-e", "-c", "\n".join(job["script"])],
        cwd=scratch,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    _skip_without_index(ran.stderr)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert (scratch / job["artifacts"]["reports"]["junit"]).is_file()
    imported = subprocess.run([programs / "python", "-c", "import torch"], capture_output=True, check=False)
    assert imported.returncode == 1  # the base install is enough


@pytest.mark.slow
@pytest.mark.needs_module("pre_commit")
def test_the_pre_commit_hook(scratch, hosted, tmp_path):
    (config,) = [block for block in _blocks("yaml") if "hooks:" in block]
    (scratch / ".pre-commit-config.yaml").write_text(config)
    environment = _hosted_environment(tmp_path / "home", hosted)

    def run() -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "pre_commit", "run", "--verbose"]
        return subprocess.run(words, cwd=scratch, env=environment, capture_output=True, text=True, check=False)

    _git(scratch, "add", "--all")
    passed = run()
    _skip_without_index(passed.stdout)
    assert passed.returncode == 0, passed.stdout[-4000:] + passed.stderr[-2000:]
    assert "pass  size: " in passed.stdout
    _git(scratch, "commit", "--quiet", "--message", "a model")
    (scratch / "README").write_text("about")
    _git(scratch, "add", "README")
    assert "Skipped" in run().stdout
    (scratch / "scene.tflite").write_bytes(b"not a model")
    _git(scratch, "add", "scene.tflite")
    failed = run()
    assert failed.returncode == 1
    assert "error: scene.tflite: " in failed.stdout
