"""Each kind of folder follows the published specification of its kind."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import xml.etree.ElementTree as ET
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import yaml

from tinyscene.export.targets.environments import environment
from tinyscene.firmware_harness.ship.formats import FORMATS, contents
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.bundle import Bundle

SEMANTIC_VERSION = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
ARDUINO_CATEGORIES = {
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage",
    "Data Processing", "Other",
}  # fmt: skip


def _files(bundle: Bundle, form: str, cpu: str = "c99") -> dict[str, bytes]:
    return contents(Product(bundle, Options(cpu=cpu, prefix="asc", release="1.2.3"), "tinyscene"), FORMATS[form])


def test_arduino(any_model: Bundle) -> None:
    """Arduino library specification 1.5, rev. 2.2: fields, layout, names."""
    files = _files(any_model, "arduino")
    lines = files["library.properties"].decode().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    assert len(fields) == len(lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= fields.keys()
    assert all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.\-]{0,62}", fields["name"])
    assert re.fullmatch(SEMANTIC_VERSION, fields["version"])
    assert fields["category"] in ARDUINO_CATEGORIES
    assert f"src/{fields['includes']}" in files
    for name in files:  # sources below src only, each sketch in a folder of its name
        if name.endswith((".c", ".cpp")):
            assert name.startswith(("src/", "extras/"))
        if name.endswith(".ino"):
            *_, folder, sketch = name.split("/")
            assert name.startswith("examples/")
            assert sketch == f"{folder}.ino"


@pytest.mark.needs_module("kconfiglib")
def test_zephyr(any_model: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zephyr's module.yml (scripts/zephyr_module.py), Kconfig as Kconfiglib reads it, and the paths in them."""

    import kconfiglib

    files = _files(any_model, "zephyr")
    module = yaml.safe_load(files["zephyr/module.yml"])
    assert set(module) <= {"name", "build", "samples", "tests", "boards", "blobs", "security", "package-managers"}
    assert set(module["build"]) <= {"cmake", "kconfig", "depends", "settings"}
    assert f"{module['build']['cmake']}/CMakeLists.txt" in files
    assert module["build"]["kconfig"] in files
    assert all(any(name.startswith(f"{folder}/") for name in files) for folder in module["samples"])
    (tmp_path / "Module").write_bytes(files["zephyr/Kconfig"])
    top = (
        'config CPU_HAS_FPU\n\tdef_bool y\nconfig FPU\n\tbool "f"\n\tdepends on CPU_HAS_FPU\nsource "$(HERE)/Module"\n'
    )
    (tmp_path / "Kconfig").write_text(top)
    (sample_folder,) = {name.rpartition("/")[0] for name in files if name.endswith("/prj.conf")}
    (tmp_path / "prj.conf").write_bytes(files[f"{sample_folder}/prj.conf"])
    monkeypatch.setenv("HERE", str(tmp_path))
    config = kconfiglib.Kconfig(str(tmp_path / "Kconfig"), warn_to_stderr=False)
    assert [config.syms[name].str_value for name in ("ASC", "FPU")] == ["n", "n"]
    config.load_config(str(tmp_path / "prj.conf"))
    assert [config.syms[name].str_value for name in ("ASC", "FPU")] == ["y", "y"]
    assert not [warning for warning in config.warnings if "ASC" in warning]
    cmake = files["zephyr/CMakeLists.txt"].decode()
    assert "if(CONFIG_ASC)" in cmake
    for path in re.findall(r"\.\./(src/[\w.]+)", cmake):
        assert path in files
    sample = yaml.safe_load(files[f"{sample_folder}/sample.yaml"])
    assert sample["sample"]["name"]
    assert sample["tests"]


@pytest.mark.parametrize(("cpu", "cores"), [("c99", set()), ("dsp", {"Cortex-M4", "Cortex-M7", "Cortex-M33"})])
def test_cmsis_pack(cpu: str, cores: set[str], any_model: Bundle) -> None:
    """Open-CMSIS-Pack's PACK.xsd: required elements and attributes, unique names, files that exist."""
    files = _files(any_model, "cmsis-pack", cpu)
    (name,) = [name for name in files if name.endswith(".pdsc")]
    package = ET.fromstring(files[name])
    assert package.tag == "package"
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", package.attrib["schemaVersion"])
    children = [child.tag for child in package]
    assert len(set(children)) == len(children)
    assert {"name", "vendor", "description", "url", "releases"} <= set(children)
    known = {"license", "keywords", "taxonomy", "conditions", "components"}
    assert set(children) <= {"name", "vendor", "description", "url", "releases"} | known
    vendor, pack = package.findtext("vendor"), package.findtext("name")
    for word in (vendor, pack):
        assert re.fullmatch(r"[\-_A-Za-z0-9]+", word or "")
    assert name == f"{vendor}.{pack}.pdsc"
    releases = package.findall("releases/release")
    assert [release.attrib["version"] for release in releases] == ["1.2.3"]
    assert package.findtext("license") in files
    conditions = {condition.attrib["id"]: condition for condition in package.findall("conditions/condition")}
    for component in package.findall("components/component"):
        assert {"Cclass", "Cgroup", "Cversion"} <= component.attrib.keys()
        assert component.findtext("description")
        assert {component.attrib["condition"]} <= conditions.keys() if cores else "condition" not in component.attrib
        for file in component.findall("files/file"):
            assert file.attrib["name"] in files
            assert file.attrib["category"] in {"doc", "header", "source", "sourceC", "include", "library", "other"}
    assert {accept.attrib["Dcore"] for c in conditions.values() for accept in c.findall("accept")} == cores
    packed = zipfile.ZipFile(BytesIO(files[f"{vendor}.{pack}.1.2.3.pack"]))
    assert packed.testzip() is None
    assert {entry: packed.read(entry) for entry in packed.namelist()} == {
        entry: data for entry, data in files.items() if not entry.endswith(".pack")
    }


@pytest.mark.needs_module("kconfiglib")
def test_esp_idf(any_model: Bundle, tmp_path: Path) -> None:
    """Sources that CMake names exist, Kconfig as Kconfiglib reads it, and the fields of the manifest."""
    import kconfiglib

    files = _files(any_model, "esp-idf")
    (registered,) = re.findall(r'SRCS "([^"]+)" INCLUDE_DIRS "include"', files["CMakeLists.txt"].decode())
    assert registered in files
    manifest = yaml.safe_load(files["idf_component.yml"])
    assert manifest["version"] == "1.2.3"
    (example,) = manifest["examples"]
    project = {name.removeprefix(f"{example['path']}/") for name in files if name.startswith(example["path"])}
    assert {"CMakeLists.txt", "main/CMakeLists.txt", "main/main.c", "main/app_main.c"} <= project
    kconfigs = [name for name in files if "Kconfig" in name]
    assert len(kconfigs) == 1 + any("microphone" in name for name in project)
    for number, name in enumerate(kconfigs):
        (tmp_path / str(number)).write_bytes(files[name])
        config = kconfiglib.Kconfig(str(tmp_path / str(number)), warn_to_stderr=False)
        assert not config.warnings
        symbols = {symbol.name: symbol.str_value for symbol in config.unique_defined_syms}
        assert symbols == {"ASC_OPTIMISE": "y"} or set(symbols) == set(
            re.findall(r"CONFIG_(\w+)", files[f"{example['path']}/main/microphone.c"].decode())
        )
    assert "CONFIG_ASC_OPTIMISE" in files["CMakeLists.txt"].decode()


@pytest.mark.foreign("idf_component_manager")
def test_espressif_s_component_manager_accepts_and_packs_it(any_model: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "asc"
    for name, data in _files(any_model, "esp-idf").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    python = environment("idf_component_manager")
    validate = (
        "import sys; from idf_component_tools.manager import ManifestManager as M;"
        "print(M(sys.argv[1], 'asc').validate().validation_errors)"
    )
    done = subprocess.run([python, "-c", validate, folder], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    (folder / "idf_component.yml").write_text('version: "one"\n')
    done = subprocess.run([python, "-c", validate, folder], capture_output=True, text=True, check=True)
    assert 'Invalid version string: "one"' in done.stdout
    (folder / "idf_component.yml").write_bytes(_files(any_model, "esp-idf")["idf_component.yml"])
    pack = [python.with_name("compote"), "component", "pack", "--name", "asc"]
    subprocess.run(pack, cwd=folder, check=True, capture_output=True)
    with tarfile.open(folder / "dist" / "asc_1.2.3.tgz") as packed:
        names = {name.removeprefix("./") for name in packed.getnames()}
    assert {"CMakeLists.txt", "idf_component.yml", "Kconfig", "LICENSE", "src/asc.c", "include/asc.h"} <= names


def test_platformio(any_model: Bundle) -> None:
    """PlatformIO's library.json: required fields, lengths, and files that exist."""
    files = _files(any_model, "platformio")
    library = json.loads(files["library.json"])
    assert {"name", "version"} <= library.keys()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,49}", library["name"])
    assert re.fullmatch(SEMANTIC_VERSION, library["version"])
    assert len(library["description"]) <= 255
    assert f"{library['build']['includeDir']}/{library['headers']}" in files
    assert any(name.startswith(f"{library['build']['srcDir']}/") for name in files)
    for example in library["examples"]:
        assert all(f"{example['base']}/{name}" in files for name in example["files"])
