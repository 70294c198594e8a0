"""All kernels under Clang's address and undefined-behaviour sanitizers; other tests run them under GCC's.

The DSP kernels run as their equivalents in C. The Helium kernels have none: their equivalents are the portable kernels.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis.errors import UnsatisfiedAssumption

from tests.firmware_harness.cpu.dsp.nets import drawn_blocks, drawn_net
from tests.firmware_harness.equality import assert_equal, both_rules
from tests.firmware_harness.random_graphs import random_net
from tests.graphs import Rng, random_input
from tinyscene.firmware_harness.build.targets import HOST, HOST_GCC, SANITIZERS
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.graph import Graph

CLANG = replace(HOST, name="host-clang", toolchain=replace(HOST_GCC, compiler="clang", package="clang"))


@pytest.fixture(scope="module")
def sanitizers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where Clang is installed without its sanitizers' libraries, which are a package of their own."""
    folder = tmp_path_factory.mktemp("clang")
    (folder / "none.c").write_text("int main(void) { return 0; }\n")
    command = ["clang", *SANITIZERS, str(folder / "none.c"), "-o", str(folder / "none")]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("Clang's sanitizers are missing (libclang-rt-dev)")


def _drawn(draw: Callable[[Rng], Graph]) -> tuple[Graph, Rng]:
    """The first graph whose scales are inside the engines' limits, and its generator."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        try:
            return draw(rng), rng
        except UnsatisfiedAssumption:
            continue
    raise AssertionError("no seed gives a valid graph")


@both_rules
@pytest.mark.slow
@pytest.mark.needs_tool("clang")
@pytest.mark.usefixtures("sanitizers")
@pytest.mark.parametrize(
    ("kernels", "draw"),
    [("c99", random_net), ("dsp", drawn_net), ("dsp", drawn_blocks)],
    ids=["c99", "dsp layers", "dsp blocks"],
)
def test_random_nets_with_clang(kernels: str, draw: Callable[[Rng], Graph], rounding: Rounding) -> None:
    graph, rng = _drawn(draw)
    assert_equal(replace(CLANG, cpu=kernels), graph, random_input(rng, graph, 3), rounding, "speed")
