"""All kernels and the integer log-mel under Clang's address and undefined-behaviour sanitizers.

Other tests run them under GCC's. The DSP kernels run as their equivalents in C. The Helium kernels have none: their
equivalents are the portable kernels.
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
from tests.firmware_harness.log_mel.signals import expected_codes, synthetic, typical_quant
from tests.firmware_harness.random_graphs import random_net
from tests.graphs import Rng, random_input
from tinyscene.firmware_harness.build.targets import HOST, HOST_GCC, SANITIZERS
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.spec import preset

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


@pytest.mark.needs_tool("clang")
@pytest.mark.usefixtures("sanitizers")
@pytest.mark.parametrize("n_fft", [512, 256])
def test_integer_log_mel_with_clang(n_fft: int) -> None:
    """The logarithm once read its table through a pointer that left it on the way, which only Clang reports."""
    spec = replace(
        preset("cpm23"), name="short", arithmetic="integer", n_fft=n_fft, win_length=256, hop_length=128, n_mels=20,
        clip_samples=2000,
    )  # fmt: skip
    quant, clips = typical_quant(spec), synthetic(spec)
    results = LogMelFirmware(spec, quant, CLANG).codes([[samples] for samples in clips.values()])
    for samples, codes in zip(clips.values(), results, strict=True):
        assert np.array_equal(codes, expected_codes(spec, quant, samples))
