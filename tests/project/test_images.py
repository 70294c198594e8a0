"""The Dockerfiles agree with pyproject.toml, .ci/setup and the tree; `make test-docker` builds them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tinyscene.export.targets.raspberry_pi import SYSTEM_PACKAGES, WHEELS

sys.path.append(str(Path(__file__).resolve().parents[2] / "docker"))
import lock

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


@pytest.mark.parametrize("image", ["dev", "firmware"])
def test_it_installs_the_compilers_and_emulators_of_the_set_up(image, repository):
    groups = set(re.findall(r"missing\+=\(([^)]+)\)", (repository / ".ci" / "setup").read_text()))
    words = _dockerfile(repository, image).split()
    needed = {name for group in groups for name in group.split()}
    assert needed <= set(words)


def test_the_pi_image_has_the_packages_of_the_emulated_pi(repository):
    text = _dockerfile(repository, "pi")
    assert set(SYSTEM_PACKAGES) <= set(text.rpartition("FROM ")[2].split())
    versions = _versions(repository, "pi")
    assert "docker/pi.txt" in text
    for wheel in WHEELS:
        name, _, version = wheel.partition("==")
        assert versions[canonicalize_name(name)] == version


def _versions(repository: Path, lock: str) -> dict[str, str]:
    """Version of each package of a lock, by canonical name; every one has the hash of a file."""
    versions = {}
    for entry in re.split(
        r"^(?=\w)", (repository / "docker" / "locks" / f"{lock}.txt").read_text(), flags=re.MULTILINE
    ):
        if entry and not entry.startswith("#"):
            requirement = Requirement(entry.partition(" \\")[0])
            versions[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    return versions


@pytest.mark.parametrize("name", sorted(lock.LOCKS))
def test_a_lock_has_every_requirement_in_the_tested_version(name, repository):
    locked = _versions(repository, name)
    extras, further = lock.LOCKS[name]
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    required = list(further) if extras is None else [*project["dependencies"], *further]
    names = list(extras or ())
    for extra in names:  # an extra may name others
        for text in project["optional-dependencies"][extra]:
            itself = re.fullmatch(rf"{project['name']}\[(.+)\]", text)
            names.extend(itself[1].split(",") if itself else [])
            required += [] if itself else [text]
    for requirement in map(Requirement, required):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)], prereleases=True), (
            requirement
        )
    if name not in lock.OTHER_VERSIONS:
        for line in (repository / "docker" / "constraints.txt").read_text().splitlines():
            if not line.startswith("#"):
                package, _, version = line.partition("==")
                assert locked.get(canonicalize_name(package), version) == version


def test_the_set_up_installs_a_lock_without_cuda(repository):
    words = [sys.executable, "docker/requirements.py", "docker/locks/all.txt"]
    whole, without = (
        subprocess.run([*words, *option], cwd=repository, capture_output=True, text=True, check=True).stdout
        for option in ([], ["--without-cuda"])
    )
    assert whole == (repository / "docker" / "locks" / "all.txt").read_text()
    omitted = {
        line.partition("==")[0] for line in whole.splitlines() if line not in without.splitlines() and "==" in line
    }
    assert {"torch", "triton", "nvidia-cublas"} <= omitted
    assert "torchmetrics==" in without


def test_notice_lists_what_the_images_contain(repository):
    command = [sys.executable, "docker/notice.py"]
    printed = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert printed == (repository / "NOTICE").read_text(), "next: python docker/notice.py >NOTICE"
    assert re.search(r"soxr .*LGPL-2.1", printed)


@pytest.mark.slow
def test_the_bill_of_materials_lists_licences_and_hashes(repository, tmp_path):
    ran = subprocess.run(
        [sys.executable, "docker/sbom.py", str(tmp_path), "environment", "base"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    if "No matching distribution" in ran.stderr:
        pytest.skip("package index is missing")
    assert ran.returncode == 0, ran.stderr
    environment, base = (json.loads((tmp_path / f"{name}.cdx.json").read_text()) for name in ("environment", "base"))
    (soxr,) = [part for part in environment["components"] if part["name"] == "soxr"]
    assert "LGPL" in json.dumps(soxr["licenses"])
    assert {part["name"] for part in base["components"]} == set(_versions(repository, "base"))
    assert all("SHA-256" in json.dumps(part) for part in base["components"])
