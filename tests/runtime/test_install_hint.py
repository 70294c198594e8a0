"""Install hints: the clone with the extra, or the missing packages of an installed wheel's extra."""

from __future__ import annotations

import shlex
import sys
import zipfile
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import pytest

from tinyscene.runtime import install_hint as module
from tinyscene.runtime.install_hint import clone_folder, declared_extras, extras_of_metadata, install_hint

METADATA = [
    "numpy>=1.26",
    'torch>=2.6; extra == "train"',
    'tinyscene[train]; extra == "export"',
    'onnx>=1.17; extra == "export"',
    'sounddevice>=0.4.6; extra == "mic"',
    f'here; sys_platform == "{sys.platform}" and extra == "npu"',
    'elsewhere; sys_platform == "plan9" and extra == "npu"',
]


@pytest.fixture
def as_wheel(monkeypatch, tmp_path) -> set[str]:
    """tinyscene as an installed wheel with METADATA; the names of the installed distributions, empty at first."""
    monkeypatch.setattr(module.tinyscene, "__file__", str(tmp_path / "site-packages" / "tinyscene" / "__init__.py"))
    installed: set[str] = set()

    def version(distribution: str) -> str:
        if distribution not in installed:
            raise metadata.PackageNotFoundError(distribution)
        return "1.0"

    monkeypatch.setattr(metadata, "requires", lambda _: METADATA)
    monkeypatch.setattr(metadata, "version", version)
    return installed


def test_in_a_clone_the_clone_is_installed_with_the_extra(repository):
    assert clone_folder() == repository
    assert shlex.split(install_hint("mic")) == ["pip", "install", "-e", f"{repository}[mic]"]
    assert shlex.split(install_hint()) == ["pip", "install", "-e", str(repository)]


def test_a_clone_declares_the_extras_of_its_project_file(repository):
    assert declared_extras()["mic"] == ("sounddevice>=0.4.6",)
    assert declared_extras()["export"][0] == "tinyscene[train]"
    assert "numpy>=1.26" in declared_extras()[""]


def test_an_installed_wheel_needs_the_packages_themselves(as_wheel):
    assert clone_folder() is None
    assert install_hint("mic") == "pip install 'sounddevice>=0.4.6'"
    assert install_hint("export") == "pip install 'torch>=2.6' 'onnx>=1.17'"
    assert install_hint("npu") == "pip install here"
    assert install_hint() == "pip install 'numpy>=1.26'"


def test_installed_packages_are_left_out(as_wheel):
    as_wheel |= {"torch"}
    assert install_hint("export") == "pip install 'onnx>=1.17'"
    as_wheel |= {"onnx"}  # an installed package that cannot be imported: all are named again
    assert install_hint("export") == "pip install 'torch>=2.6' 'onnx>=1.17'"


def test_without_metadata_the_project_file_is_named(monkeypatch, tmp_path):
    def requires(_: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(module.tinyscene, "__file__", str(tmp_path / "tinyscene" / "__init__.py"))
    monkeypatch.setattr(metadata, "requires", requires)
    assert install_hint("mic") == "install the packages of the extra 'mic' in tinyscene's pyproject.toml"


def test_an_unknown_extra_is_refused():
    with pytest.raises(KeyError):
        install_hint("no-such-extra")


def test_metadata_and_project_file_declare_the_same(wheel):
    """The metadata of the built wheel gives the same packages as the project file of the clone."""
    with zipfile.ZipFile(wheel) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        lines = message_from_bytes(opened.read(name)).get_all("Requires-Dist", [])
    from_metadata = {name: set(each) for name, each in extras_of_metadata(lines).items() if each}
    names = {name: {module.distribution_name(line) for line in each} for name, each in from_metadata.items()}
    from_clone = {name: {module.distribution_name(line) for line in each} for name, each in declared_extras().items()}
    assert names == {name: each for name, each in from_clone.items() if each}


def test_no_advice_names_the_package_index(repository: Path):
    """tinyscene is not on the package index."""
    for package in ("export", "firmware_harness", "runtime", "tinyscene", "training"):
        for path in (repository / package).rglob("*.py"):
            if path.name != "install_hint.py":
                assert "pip install 'tinyscene" not in path.read_text(), path
                assert "pip install tinyscene" not in path.read_text(), path
