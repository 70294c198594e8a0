"""The seal of a linked image, stored by CMake without Python: damage to code and to .rodata is noticed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.firmware_harness.machines import on
from tests.firmware_harness.ship.boards import Ran, run
from tinyscene.firmware_harness.build.seal import seal
from tinyscene.firmware_harness.build.targets import CORTEX_M4, PORT_FOLDER, Target
from tinyscene.firmware_harness.ship.formats import FORMATS, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.bundle import Bundle

HERE = Path(__file__).resolve().parent
PROJECT = """
cmake_minimum_required(VERSION 3.13)
project(firmware LANGUAGES C)
add_subdirectory(asc)
add_executable(firmware {sources})
target_include_directories(firmware PRIVATE {includes})
target_link_options(firmware PRIVATE {link_flags})
target_link_libraries(firmware PRIVATE tinyscene::asc)
asc_seal(firmware)
"""


def _build(target: Target, folder: Path) -> Path:
    """Build a firmware project around the export in ``folder``; return the image, sealed by CMake."""
    sources = [HERE / "seal_check.c", *(path for port in target.port_folders for path in sorted(port.glob("*.c")))]
    words = {
        "sources": " ".join(map(str, sources)),
        "includes": " ".join(map(str, (PORT_FOLDER, *target.port_folders))),
        "link_flags": " ".join(target.link_flags),
    }
    (folder / "CMakeLists.txt").write_text(PROJECT.format(**words))
    cross = [
        "-DCMAKE_SYSTEM_NAME=Generic",
        "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
        f"-DCMAKE_C_COMPILER={target.compiler}",
        f"-DCMAKE_C_FLAGS=-O2 {' '.join(target.compile_flags)}",
    ]
    for command in (["cmake", "-S", folder, "-B", folder / "build", *cross], ["cmake", "--build", folder / "build"]):
        subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / "build" / "firmware"


def _run_changed(target: Target, image: Path, content: bytes) -> int:
    """Exit code of the image with a bit flipped in ``content``; the port's own checksum is made right again."""
    data = bytearray(image.read_bytes())
    assert data.count(content) == 1
    data[data.index(content)] ^= 4
    changed = image.with_name("changed")
    changed.write_bytes(data)
    seal(changed, target)
    return run(target, changed).code


@pytest.mark.needs_tool("cmake")
@pytest.mark.parametrize("target", [on(CORTEX_M4)])
def test_cmake_seals_an_image(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    export(Product(scenes, Options(prefix="asc"), "tinyscene"), FORMATS["cmake"], tmp_path / "asc")
    image = _build(target, tmp_path)
    seal(image, target)
    assert run(target, image) == Ran(0, [])
    image_damaged = 8  # ASC_ERROR_IMAGE, negated
    assert _run_changed(target, image, b"marker of .rodata") == image_damaged
    assert _run_changed(target, image, (0x5EED1234).to_bytes(4, "little")) == image_damaged
