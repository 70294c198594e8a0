"""The Dockerfiles agree with pyproject.toml, .ci/setup and the tree; `make test-docker` builds them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tinyscene.export.targets.raspberry_pi import SYSTEM_PACKAGES, WHEELS

IMAGES = ("dev", "train", "firmware", "pi")


def _dockerfile(repository: Path, image: str) -> str:
    """The instructions of a Dockerfile, each on one line."""
    text = (repository / "docker" / f"{image}.Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(lines).replace("\\\n", " ")


def test_the_four_dockerfiles_are_in_compose(repository):
    assert {path.stem for path in (repository / "docker").glob("*.Dockerfile")} == set(IMAGES)
    compose = (repository / "docker" / "compose.yaml").read_text()
    assert set(re.findall(r"docker/(\w+)\.Dockerfile", compose)) == set(IMAGES)


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_the_command_as_an_ordinary_user(image, repository):
    last_stage = re.split(r"^FROM ", _dockerfile(repository, image), flags=re.MULTILINE)[-1]
    assert re.findall(r"^USER (.+)$", last_stage, re.MULTILINE)[-1:] == ["tinyscene"]
    assert last_stage.strip().endswith('ENTRYPOINT ["tinyscene"]')
    assert f'title="tinyscene-{image}"' in last_stage


@pytest.mark.parametrize("image", IMAGES)
def test_what_it_copies_is_not_ignored(image, repository):
    ignored = (repository / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    for words in re.findall(r"^COPY (?!--from)(.+)$", _dockerfile(repository, image), re.MULTILINE):
        *sources, _ = [word for word in words.split() if not word.startswith("--")]
        for source in sources:
            assert (repository / source).exists(), source
            assert source == "." or source.partition("/")[0] in kept, source


TESTS_ONLY = {"clang", "lld"}  # the tests compile exported products with them, nothing else does


@pytest.mark.parametrize("image", ["dev", "firmware"])
def test_it_installs_the_compilers_and_emulators_of_the_set_up(image, repository):
    groups = set(re.findall(r"missing\+=\(([^)]+)\)", (repository / ".ci" / "setup").read_text()))
    words = _dockerfile(repository, image).split()
    needed = {name for group in groups for name in group.split()} - (TESTS_ONLY if image == "firmware" else set())
    assert needed <= set(words)


def test_the_pi_image_has_the_packages_of_the_emulated_pi(repository):
    text = _dockerfile(repository, "pi")
    assert set(SYSTEM_PACKAGES) <= set(text.rpartition("FROM ")[2].split())
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    required = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]} | {"onnxruntime"}
    assert "requirements.txt onnxruntime" in text
    pins = (repository / "docker" / "constraints.txt").read_text().splitlines()
    for wheel in WHEELS:
        assert wheel in pins
        assert wheel.partition("==")[0] in required


def test_requirements_of_an_image_are_those_of_the_project_with_extras_resolved(repository):
    command = [sys.executable, "docker/requirements.py", "pyproject.toml", "export"]
    printed = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout.splitlines()
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    own = [name for name in optional["export"] if not name.startswith("tinyscene[")]
    assert printed == [*project["dependencies"], *optional["train"], *own]
