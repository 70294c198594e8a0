"""An exported product on a big-endian processor: the self-test passes, and results are those of this machine."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.firmware_harness.ship.boards import PRINT_REPORTS, Ran, link, run
from tinyscene.firmware_harness.build.targets import HOST, Toolchain
from tinyscene.firmware_harness.ship.formats import FORMATS, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.arith import Rounding

POWERPC = Toolchain(
    "powerpc-linux-gnu-",
    "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross qemu-user",
    ("host",),
    link_flags=("-static", "-lm"),
)


@pytest.mark.slow
@pytest.mark.needs_tool("gcc")
@pytest.mark.skipif(
    shutil.which(POWERPC.tool("gcc")) is None or shutil.which("qemu-ppc") is None, reason=f"needs {POWERPC.package}"
)
@pytest.mark.parametrize(
    ("rounding", "model"), [("double", "scenes"), ("single", "scenes"), ("double", "integer_scenes")]
)
def test_a_big_endian_build_gives_the_same(
    rounding: Rounding, model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    product = Product(request.getfixturevalue(model), Options(prefix="asc", rounding=rounding), "tinyscene")
    export(product, FORMATS["makefile"], tmp_path / "asc")
    inputs, includes = [PRINT_REPORTS, tmp_path / "asc" / "src" / "asc.c"], [tmp_path / "asc" / "include"]
    expected = run(HOST, link(HOST, inputs, includes, tmp_path / "host"))
    image = link(replace(HOST, toolchain=POWERPC), inputs, includes, tmp_path / "powerpc")
    done = subprocess.run(["qemu-ppc", image], capture_output=True, text=True, check=False)
    assert Ran(done.returncode, done.stdout.splitlines()) == expected
    assert expected.lines[0] == "self-test 0"
