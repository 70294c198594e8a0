"""Every target: computed values, counts, sizes, and failures."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.build.programs import run_program
from tests.firmware_harness.machines import EMULATED, emulated, on_each
from tests.firmware_harness.random_graphs import convolution, cp_mobile
from tests.graphs import random_input, small_net
from tinyscene.firmware_harness.build.image import build
from tinyscene.firmware_harness.build.targets import (
    CORTEX_M0PLUS,
    CORTEX_M4,
    CORTEX_M55,
    HOST,
    RISCV32,
    TARGETS,
    Target,
)
from tinyscene.firmware_harness.build.tools import run_tool
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run.emulate import run_image
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run

HERE = Path(__file__).resolve().parent
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


def _small() -> Graph:
    return small_net(np.random.default_rng(3), grn=False)


@emulated
def test_the_counter_is_exact_and_the_stack_is_measured(target: Target, tmp_path: Path) -> None:
    """A loop of two instructions per iteration, 900 million in all, which is beyond the range of SysTick."""
    printed = run_program(target, HERE / "counter_check.c", tmp_path).printed
    assert target.emulator is not None
    instructions = int(printed["clocks"]) * target.emulator.instructions_per_clock
    assert 900_000_000 <= instructions < 900_000_000 + 50
    assert printed["stack_bytes"] == "2000"


OVERRUNS = {
    "step by step": "volatile int a[50]; a[n % 50] = n; return n < 0 ? 0 : deep(n + 1) + a[3];",
    "in one leap": "volatile char a[40000]; for (; n < 40000; ++n) a[n] = 1; return a[9];",
}


@emulated
@pytest.mark.parametrize("overrun", OVERRUNS)
def test_a_stack_overflow_is_reported(target: Target, overrun: str, tmp_path: Path) -> None:
    source = tmp_path / "over.c"
    source.write_text(
        f"int main(void);\nstatic int deep(int n) {{ {OVERRUNS[overrun]} }}\nint main(void) {{ return deep(0); }}\n"
    )
    with pytest.raises(
        FirmwareError,
        match=rf"running on {target.name}: the stack overflowed: status 0x.*reserve more .* than 16,384 B",
    ):
        run_program(target, source, tmp_path)


@emulated
def test_a_fault_is_reported_with_its_address(target: Target, tmp_path: Path) -> None:
    source = tmp_path / "fault.c"
    source.write_text("int main(void);\nint main(void) { return *(volatile int*)0xf0000000u; }\n")
    with pytest.raises(FirmwareError, match=r"the processor raised a fault: status 0x[0-9a-f]+, .*pc 0x[0-9a-f]+"):
        run_program(target, source, tmp_path)


@on_each([CORTEX_M0PLUS])
def test_the_machine_of_m0plus_refuses_unaligned_words_too(target: Target, tmp_path: Path) -> None:
    source = tmp_path / "unaligned.c"
    source.write_text("int main(void);\nint main(void) { int* volatile odd = (int*)0x20000101u; return *odd; }\n")
    with pytest.raises(FirmwareError, match="the processor raised a fault: status 0x1000000"):
        run_program(target, source, tmp_path)


@emulated
def test_a_small_plan_equals_the_measurement(target: Target, tmp_path: Path) -> None:
    _assert_plan_is_measured(_small(), target, tmp_path)


@on_each([CORTEX_M4, CORTEX_M55, RISCV32])
def test_a_full_size_plan_equals_the_measurement(target: Target, tmp_path: Path) -> None:
    _assert_plan_is_measured(cp_mobile(np.random.default_rng(40), "dcase25"), target, tmp_path)


def _assert_plan_is_measured(graph: Graph, target: Target, tmp_path: Path) -> None:
    """Arena from painted memory and the linker's sections, flash from the bare image, stack from painted memory."""
    engine = FirmwareEngine(graph, target, folder=tmp_path)
    figures, image = engine.figures, engine.product_image()
    assert image is not None
    source = graph.tensors[graph.input]
    codes = np.full(source.shape, source.quant.zero_point, np.int8)
    printed = run_image(image, codes.tobytes(), 60.0).printed
    assert 0 <= engine.emitted.plan.arena_bytes - int(printed["arena_bytes"]) < 16
    rows = [
        line.split() for line in run_tool([target.toolchain.tool("size"), "-A", str(image.path)], target).splitlines()
    ]
    sections = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}
    assert sections[".arena"] == engine.emitted.plan.arena_bytes + 64  # the canary
    assert sections[".stack"] == target.stack_bytes
    assert 64 < int(printed["stack_bytes"]) < 1024
    assert int(printed["stack_bytes"]) == figures.stack_bytes
    assert figures.stack_bound_bytes is not None
    assert figures.stack_bytes <= figures.stack_bound_bytes <= 1.15 * figures.stack_bytes
    binary = tmp_path / "image.bin"
    run_tool([target.toolchain.tool("objcopy"), "-O", "binary", "-R", ".vectors", str(image.path), str(binary)], target)
    gaps = binary.stat().st_size + sections[".vectors"] - figures.flash_bytes
    assert 0 <= gaps < 16 * 4  # alignment of the sections


@emulated
def test_the_record_has_the_linker_script_s_memory(target: Target) -> None:
    assert target.linker_script is not None
    text = target.linker_script.read_text()
    regions = re.findall(r"(FLASH|RAM) \(\w+\)\s*: ORIGIN = \w+, LENGTH = (\d+)([KM]?)\n", text)
    assert {name: int(length) * UNITS[unit] for name, length, unit in regions} == {
        "FLASH": target.flash_bytes,
        "RAM": target.ram_bytes,
    }


@on_each([CORTEX_M55, RISCV32])
def test_a_compiler_too_old_is_refused(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / target.compiler
    old.write_text("#!/bin/sh\necho 10.2.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = (
        rf"building for {target.name}: {target.compiler} is too old for this processor; "
        r"expected version 11 or newer; got 10.2.1; next: apt-get install"
    )
    with pytest.raises(FirmwareError, match=expected):
        build(emit(_small()), target, "double")


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_a_missing_compiler_names_its_packages(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = f"{target.compiler} is not installed; next: apt-get install {target.toolchain.package}"
    with pytest.raises(FirmwareError, match=expected):
        build(emit(_small()), target, "double")


@on_each([RISCV32])
def test_a_missing_emulator_names_its_package(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FirmwareEngine(_small(), target)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        FirmwareError, match="qemu-system-riscv32 is not installed; next: apt-get install qemu-system-m"
    ):
        engine.outputs(random_input(np.random.default_rng(0), engine.graph))


@pytest.mark.parametrize("target", EMULATED, ids=lambda target: target.name)
def test_an_arena_too_large_is_refused_before_compiling(target: Target) -> None:
    graph = convolution(np.random.default_rng(0), (1024, 1024, 2), (1, 1), channels=4)
    expected = rf"on {target.name}: arena and stack do not fit into memory; expected at most [24],\d+,\d+ B; got [46],"
    with pytest.raises(FirmwareError, match=expected):
        FirmwareEngine(graph, target)


@on_each([CORTEX_M4])
@pytest.mark.parametrize("region", ["FLASH", "RAM"])
def test_images_that_the_linker_finds_too_large_are_refused_alike(target: Target, region: str, tmp_path: Path) -> None:
    """The sizes of code and test buffers are unknown before linking; the message is the same as before compiling."""
    emitted = emit(_small())
    flash = emitted.constant_bytes + 1000 if region == "FLASH" else 1 << 20
    ram = emitted.plan.arena_bytes + 1100 if region == "RAM" else 1 << 20
    script = tmp_path / "small.ld"
    script.write_text(
        f"MEMORY {{\n FLASH (rx) : ORIGIN = 0, LENGTH = {flash}\n RAM (rw) : ORIGIN = 0x20000000, LENGTH = {ram}\n}}\n"
        'REGION_ALIAS("VECTORS", FLASH)\nINCLUDE sections.ld\n'
    )
    small = replace(target, linker_script=script, flash_bytes=flash, ram_bytes=ram, stack_bytes=1024)
    available = flash if region == "FLASH" else ram
    expected = rf"on cortex-m4: {region} contents do not fit into memory; expected at most {available:,} B; got"
    with pytest.raises(FirmwareError, match=expected):
        build(emitted, small, "double", folder=tmp_path)


def _documented(language: str) -> str:
    text = (HERE.parents[2] / "docs" / "adding-a-target.md").read_text()
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return block


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("rounding", ["double", "single"])
def test_a_target_added_as_documented_runs_a_net(rounding, tmp_path: Path) -> None:
    """The steps of docs/adding-a-target.md, except for the folder of the linker script."""
    script = tmp_path / "microbit.ld"
    script.write_text(_documented("ld"))
    names: dict[str, Target] = {}
    exec(_documented("python"), names)  # our own page
    target = replace(names["MICROBIT"], linker_script=script)
    graph = _small()
    codes = random_input(np.random.default_rng(7), graph, 3)
    expected: dict[str, np.ndarray] = {}
    run(graph, codes, rounding=rounding, trace=expected)
    engine = FirmwareEngine(graph, target, rounding, folder=tmp_path)
    outputs = engine.outputs(codes)
    assert all(np.array_equal(outputs[name], expected[name]) for name in outputs)
    assert engine.figures.instructions is not None
    printed = run_program(target, HERE / "counter_check.c", tmp_path).printed
    assert target.emulator is not None
    assert 0 <= int(printed["clocks"]) * target.emulator.instructions_per_clock - 900_000_000 < 100


@on_each([CORTEX_M0PLUS])
def test_m0plus_code_has_no_instruction_of_larger_processors(target: Target, tmp_path: Path) -> None:
    """The emulated machine would execute them, so the object attributes merged by the linker are checked."""
    engine = FirmwareEngine(_small(), target, folder=tmp_path)
    words = ["arm-none-eabi-readelf", "-A", str(engine._verify.path)]
    attributes = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "Tag_CPU_arch: v6S-M" in attributes
    assert "Tag_FP_arch" not in attributes


def test_the_host_and_the_webassembly_runtimes_have_no_counter() -> None:
    uncounted = [target for target in TARGETS.values() if target.emulator is None]
    assert uncounted == [HOST, *(target for target in TARGETS.values() if target.runtime)]


@emulated
def test_a_profile_adds_up_to_the_measurement(target: Target) -> None:
    graph = small_net(np.random.default_rng(3), grn=True)
    engine = FirmwareEngine(graph, target)
    codes = random_input(np.random.default_rng(0), graph)
    profile, whole = engine.profile(codes), engine.measure(codes).instructions
    assert whole is not None
    assert len(profile) == len(engine.emitted.calls)
    assert min(profile) >= 0  # a call may be shorter than a clock
    assert 0.9 * whole < sum(profile) < 1.1 * whole + 200 * len(profile)


def test_the_host_has_no_profile() -> None:
    graph = _small()
    with pytest.raises(FirmwareError, match="no instruction counter"):
        FirmwareEngine(graph, HOST).profile(random_input(np.random.default_rng(0), graph))
