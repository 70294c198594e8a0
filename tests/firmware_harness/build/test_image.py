"""Building: missing tools, models that are too large, cached objects; and the C interface as a user calls it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinyscene
from tests.firmware_harness.random_graphs import convolution
from tests.graphs import Builder, small_net
from tinyscene.firmware_harness.build.image import build, sizes
from tinyscene.firmware_harness.build.targets import C_FLAGS, CORTEX_M4, HOST, SANITIZERS, target_named
from tinyscene.firmware_harness.build.tools import run_tool
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.kernel_set import C_FOLDER
from tinyscene.firmware_harness.emit.log_mel import emit_frontend, scene_arena_bytes
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.spec import preset

HERE = Path(__file__).resolve().parent
needs_m4 = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(FirmwareError, match=r"expected host or cortex-m0plus or cortex-m3 or .*; got cortex-m23"):
        target_named("cortex-m23")


def test_too_many_constants_are_refused_before_compiling() -> None:
    graph = convolution(np.random.default_rng(0), (3, 3, 683), (3, 3), channels=682)
    with pytest.raises(FirmwareError, match=r"on cortex-m4: constants do not fit into memory; expected.*got 4,2"):
        FirmwareEngine(graph, CORTEX_M4)


@pytest.mark.needs_tool("gcc")
def test_nothing_is_compiled_twice(tmp_path: Path) -> None:
    emitted = emit(small_net(np.random.default_rng(0), grn=False))
    first = build(emitted, HOST, "double", folder=tmp_path)
    objects = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.o")}
    assert build(emitted, HOST, "double", folder=tmp_path).path == first.path
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.o")} == objects
    other = build(emit(small_net(np.random.default_rng(1), grn=False)), HOST, "double", folder=tmp_path)
    assert other.path != first.path
    added = len(list(tmp_path.rglob("*.o"))) - len(objects)
    assert added == 3  # model.c, and ts_invoke.c and verify.c for its sizes
    assert build(emitted, HOST, "single", folder=tmp_path).path != first.path


@pytest.mark.needs_tool("arm-none-eabi-gcc")
def test_the_application_is_compiled_again_for_another_arena(tmp_path: Path) -> None:
    """Its sources include model.h through another header only; a stale object would have the other mode's arena."""
    spec = replace(preset("cpm23"), n_fft=256, win_length=200, hop_length=200, n_mels=20, clip_samples=2800)
    graph = small_net(np.random.default_rng(3), grn=True, shape=(spec.n_mels, spec.n_frames, 1))
    frontend = emit_frontend(spec, graph.tensors[graph.input].quant)
    seen = []
    for emitted in (emit(graph, kernel_set_named("dsp"), "ram"), emit(graph, kernel_set_named("dsp"), "layers")):
        image = build(emitted, CORTEX_M4, "double", program="scenes", frontend=frontend, folder=tmp_path)
        listing = run_tool([CORTEX_M4.toolchain.tool("size"), "-A", str(image.path)], CORTEX_M4)
        seen.append(scene_arena_bytes(emitted, spec, spec.clip_samples))
        assert re.search(rf"^\.arena +{seen[-1]} ", listing, re.MULTILINE)
    assert seen[0] < seen[1]


@pytest.mark.needs_tool("gcc")
def test_a_compiler_error_is_shown_with_its_line(tmp_path: Path) -> None:
    emitted = emit(small_net(np.random.default_rng(0), grn=False))
    broken = replace(emitted, model_c=emitted.model_c.replace("return arena", "retrun arena"))
    with pytest.raises(FirmwareError, match=r"gcc failed: .*model.c:\d+:\d+: error: .*retrun.*next: run it by hand"):
        build(broken, HOST, "double", folder=tmp_path)
    assert not list(tmp_path.rglob("*.elf"))


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
def test_the_call_refuses_invalid_memory_and_keeps_the_input(grn: bool, tmp_path: Path) -> None:
    emit(small_net(np.random.default_rng(3), grn=grn)).write(tmp_path)
    sources = [str(HERE / "invoke_check.c"), *map(str, tmp_path.glob("*.c"))]
    program = tmp_path / "check"
    subprocess.run(["gcc", "-std=c99", *SANITIZERS, f"-I{tmp_path}", *sources, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"line {done.returncode}: {done.stderr[:500]}"


@pytest.mark.needs_tool("gcc")
def test_the_call_with_several_pointers_refuses_invalid_memory(tmp_path: Path) -> None:
    b = Builder(np.random.default_rng(3), "several", (6, 5, 3))
    total = b.add(b.conv(b.input, (3, 3), pads=(1, 1, 1, 1)), b.conv(b.new_input("other", (6, 5, 3)), (1, 1)), False)
    emit(b.graph(b.mean(total), total)).write(tmp_path)
    program, sources = tmp_path / "check", [HERE / "invoke_several_check.c", *tmp_path.glob("*.c")]
    command = ["gcc", *C_FLAGS, "-Wpedantic", *SANITIZERS, f"-I{tmp_path}", *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"line {done.returncode}: {done.stderr[:500]}"


@needs_m4
def test_figures_add_up(tmp_path: Path) -> None:
    graph = small_net(np.random.default_rng(3), grn=True)
    engine = FirmwareEngine(graph, CORTEX_M4, folder=tmp_path)
    figures = engine.figures
    assert figures.arena_bytes == engine.emitted.plan.arena_bytes
    assert figures.flash_bytes > figures.code_bytes + engine.emitted.constant_bytes
    assert figures.flash_bytes < figures.code_bytes + engine.emitted.constant_bytes + 4000
    assert 0 < figures.static_ram_bytes < 200
    assert 64 < figures.stack_bytes < 1024
    assert engine.measure(np.zeros((1, 20, 14, 1), np.int8)) == engine.measure(np.zeros((2, 20, 14, 1), np.int8))
    image = engine.product_image()
    assert image is not None
    assert sizes(image).flash_bytes == figures.flash_bytes
    assert FirmwareEngine(graph, HOST).figures.instructions is None


def test_headers_carry_the_version_of_the_package() -> None:
    model_h = emit(small_net(np.random.default_rng(0), grn=False)).model_h
    for text, prefix in (((C_FOLDER / "ts_version.h").read_text(), ""), (model_h, "TS_MODEL_")):
        macros = dict(re.findall(rf"^#define {prefix}TINYSCENE_VERSION(\w*) (.+)$", text, re.MULTILINE))
        assert macros[""] == f'"{tinyscene.__version__}"'
        numbers = ".".join(macros[part] for part in ("_MAJOR", "_MINOR", "_PATCH"))
        assert tinyscene.__version__.startswith(numbers)


@pytest.mark.needs_tool("gcc")
def test_a_model_of_another_version_stops_with_one_error(tmp_path: Path) -> None:
    emit(small_net(np.random.default_rng(3), grn=False)).write(tmp_path)
    header = tmp_path / "model.h"
    other, changes = re.subn(r"(TINYSCENE_VERSION_PATCH) (\d+)", r"\1 1\2", header.read_text())
    assert changes == 1
    header.write_text(other)
    sources = list(map(str, tmp_path.glob("*.c")))
    done = subprocess.run(
        ["gcc", "-std=c99", "-fsyntax-only", f"-I{tmp_path}", *sources], capture_output=True, text=True
    )
    (error,) = [line for line in done.stderr.splitlines() if "error" in line and "|" not in line]
    assert "model.h and the ts_ files come from different versions of tinyscene" in error
