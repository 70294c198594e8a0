"""Counts under the emulator: against its own counter, its caches against a plain simulation, and what is missing."""

from __future__ import annotations

import subprocess
from collections import OrderedDict
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.machines import on, on_each
from tests.graphs import random_input, small_net
from tinyscene.firmware_harness.build.image import Image, build
from tinyscene.firmware_harness.build.targets import (
    CORTEX_M0PLUS,
    CORTEX_M4,
    CORTEX_M7,
    CORTEX_M33,
    CORTEX_M55,
    HOST,
    RISCV32,
    Target,
)
from tinyscene.firmware_harness.cycles.counts import Counts
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run import executed as module
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.firmware_harness.run.executed import FLAGS, SOURCE, Executed
from tinyscene.runtime.graph import Graph

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes")
CACHES = ((32, 32, 1), (32, 8, 1), (16, 2, 256), (32, 2, 256), (32, 4, 128), (32, 2, 64), (32, 4, 32))


@lru_cache
def _engine(target: Target) -> FirmwareEngine:
    return FirmwareEngine(_graph(), target)


@lru_cache
def _graph() -> Graph:
    return small_net(np.random.default_rng(31), grn=False)


CODES = random_input(np.random.default_rng(0), _graph())[:1]
OTHERS = [on(t, pytest.mark.slow) for t in (CORTEX_M0PLUS, CORTEX_M7, CORTEX_M33, CORTEX_M55)]


@pytest.mark.parametrize("target", [on(CORTEX_M4), *OTHERS])
def test_every_instruction_of_an_inference_is_counted(target):
    engine = _engine(target)
    (counts,) = Executed(engine.product_image()).segments(CODES.tobytes(), 100.0)
    instructions = engine.measure(CODES).instructions
    assert counts.instructions == pytest.approx(instructions, rel=1e-3, abs=60)  # the counter's clocks are 40 of them
    assert counts.single_loads + counts.load_multiples > 0.02 * counts.instructions
    assert 0 < counts.flash_loads < counts.instructions
    assert 0 < counts.taken_branches < 0.4 * counts.instructions
    assert counts.pairs < counts.instructions / 2
    assert counts.art_code_misses + counts.icache_code_misses > 0


@on_each([CORTEX_M4])
def test_counts_of_the_calls_add_up_to_those_of_the_inference(target):
    engine = _engine(target)
    (whole,) = Executed(engine.product_image()).segments(CODES.tobytes(), 100.0)
    calls = Executed(build(engine.emitted, target, "double", program="profile")).segments(CODES.tobytes(), 100.0)
    assert len(calls) == len(engine.emitted.calls)
    added = asdict(sum(calls, Counts()))
    for name in ("instructions", "single_loads", "load_multiple_registers", "taken_branches", "flash_loads"):
        assert added[name] == pytest.approx(getattr(whole, name), rel=0.02)


def test_simulated_caches_are_least_recently_used(tmp_path):
    program = tmp_path / "cache_check"
    sources = [str(Path(__file__).with_name("cache_check.c")), f"-I{SOURCE.parent}", "-o", str(program)]
    subprocess.run(["gcc", "-std=c99", "-fsanitize=address,undefined", *sources], check=True)
    rng = np.random.default_rng(1)
    strides = [
        4 * np.arange(3000),
        32 * np.arange(600) % 9000,
        rng.integers(0, 40_000, 3000),
        rng.integers(0, 900, 500),
    ]
    addresses = np.concatenate(strides).tolist()
    done = subprocess.run([program], input="\n".join(map(str, addresses)), capture_output=True, text=True, check=True)
    got = np.array([list(map(int, line)) for line in done.stdout.split()])
    for column, (line_bytes, ways, sets) in enumerate(CACHES):
        lines: list[OrderedDict] = [OrderedDict() for _ in range(sets)]
        for address, missed in zip(addresses, got[:, column], strict=True):
            tags, tag = lines[address // line_bytes % sets], address // line_bytes
            assert missed == (tag not in tags)
            tags[tag] = True
            tags.move_to_end(tag)
            if len(tags) > ways:
                tags.popitem(last=False)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_plugin_compiles_without_warnings(compiler, tmp_path):
    command = [compiler, *FLAGS, *WARNINGS, str(SOURCE), "-o", str(tmp_path / "plugin.so")]
    subprocess.run(command, check=True)


@on_each([CORTEX_M4])
def test_a_machine_without_a_compiler_says_what_to_install(target, monkeypatch, tmp_path):
    engine = _engine(target)
    executed = Executed(engine.product_image())
    _ = executed.listing, executed.symbols
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("arm-none-eabi-size", "qemu-system-arm"):
        (tools / name).symlink_to(
            next(Path(d) / name for d in ("/usr/bin", "/usr/local/bin") if (Path(d) / name).exists())
        )
    monkeypatch.setenv("PATH", str(tools))
    module._compiled.cache_clear()  # compiled by an earlier test
    with pytest.raises(FirmwareError, match="gcc is not installed; next: apt-get install gcc"):
        executed.segments(b"", 10.0)


@pytest.mark.parametrize("target", [HOST, RISCV32], ids=lambda target: target.name)
def test_targets_without_a_model_are_refused(target):
    image = Image(Path("image.elf"), target, "measure", "double")
    with pytest.raises(
        FirmwareError, match=f"cycles on {target.name}: no model of cycles; next: choose an Arm --target"
    ):
        Executed(image)
