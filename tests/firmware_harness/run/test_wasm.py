"""The unchanged C as WebAssembly: every layer, PCM and failures, in each runtime; the image and its sections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.equality import assert_equal, both_rules
from tests.firmware_harness.log_mel.signals import typical_quant
from tests.firmware_harness.machines import on
from tests.firmware_harness.random_graphs import cp_mobile, random_net
from tests.graphs import random_input, small_net
from tinyscene.firmware_harness.build.image import Image, build, sizes
from tinyscene.firmware_harness.build.targets import (
    HOST,
    TARGETS,
    WASM,
    WASM_CHROMIUM,
    WASM_WASMTIME,
    Target,
)
from tinyscene.firmware_harness.build.tools import run_tool, runtime_command
from tinyscene.firmware_harness.build.wasm_sections import CODE_SECTION, DATA_SECTION, memory_bytes, sections
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run.audio import LogMelFirmware, SceneFirmware
from tinyscene.firmware_harness.run.emulate import run_image
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.spec import preset

RUNTIMES = [on(WASM), on(WASM_WASMTIME), on(WASM_CHROMIUM, pytest.mark.slow)]
in_each_runtime = pytest.mark.parametrize("target", RUNTIMES)
FRONTEND = replace(
    preset("cpm23"), name="small", n_fft=1024, win_length=800, hop_length=400, n_mels=20, clip_samples=8000
)
needs_host = pytest.mark.needs_tool(*HOST.executables)


@both_rules
@in_each_runtime
def test_every_layer_of_every_op(target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(5)
    graph = random_net(rng)
    assert_equal(target, graph, random_input(rng, graph, 3), rounding)


@both_rules
@in_each_runtime
def test_a_net_of_full_size(target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(40)
    graph = cp_mobile(rng, "dcase25")
    assert_equal(target, graph, random_input(rng, graph), rounding)


@needs_host
@in_each_runtime
def test_log_mel_codes_are_those_of_the_host(target: Target) -> None:
    """Clips in pieces of several lengths: noise, silence and full scale; every preset's front end has its own sizes."""
    spec, rng = preset("cpm23"), np.random.default_rng(1)
    noise = rng.integers(-3000, 3000, spec.clip_samples).astype(np.int16)
    loud = np.where(np.arange(spec.clip_samples) % 40 < 20, 32767, -32768).astype(np.int16)
    clips = [[noise[:1], noise[1:1000], noise[1000:]], [0 * noise], [loud]]
    quant = typical_quant(spec)
    expected = LogMelFirmware(spec, quant, HOST).codes(clips)
    codes = LogMelFirmware(spec, quant, target).codes(clips)
    assert all(np.array_equal(a, b) for a, b in zip(codes, expected, strict=True))
    assert len({*np.concatenate([c.ravel() for c in codes]).tolist()}) > 50


@needs_host
@in_each_runtime
@pytest.mark.parametrize("hop_samples", [None, 4000], ids=["separate", "overlapping"])
def test_from_samples_to_labels(target: Target, hop_samples: int | None) -> None:
    recording = np.random.default_rng(6).integers(-9000, 9000, 26_000).astype(np.int16)
    shape = (FRONTEND.n_mels, FRONTEND.n_frames, 1)
    emitted = emit(small_net(np.random.default_rng(3), grn=False, shape=shape))
    on_target, on_host = (
        SceneFirmware(emitted, FRONTEND, each, "single", hop_samples=hop_samples).classify(recording)
        for each in (target, HOST)
    )
    assert len(on_target) == (3 if hop_samples is None else 5)
    for a, b in zip(on_target, on_host, strict=True):
        assert (a.label, a.smoothed_label) == (b.label, b.smoothed_label)
        assert a.codes.tobytes() + a.scores.tobytes() + a.smoothed.tobytes() == (
            b.codes.tobytes() + b.scores.tobytes() + b.smoothed.tobytes()
        )


@in_each_runtime
def test_the_exit_code_of_a_failure_is_explained(target: Target) -> None:
    """Vectors that end within one."""
    graph = small_net(np.random.default_rng(0), grn=False)
    image = build(emit(graph), target, "double")
    with pytest.raises(FirmwareError, match=f"running on {target.name}: could not read the vectors"):
        run_image(image, b"\x01\x02", 60.0)


@in_each_runtime
def test_a_stack_overflow_ends_the_run(target: Target, tmp_path: Path) -> None:
    """The stack is below all data, so that an overflow is an access outside memory."""
    source, path = tmp_path / "over.c", tmp_path / "over.wasm"
    source.write_text(
        "int main(void);\nstatic int deep(int n) {\n    volatile int a[50];\n    a[n % 50] = n;\n"
        "    return n < 0 ? 0 : deep(n + 1) + a[3];\n}\nint main(void) { return deep(0); }\n"
    )
    run_tool([target.compiler, *target.compile_flags, str(source), *target.link_flags, "-o", str(path)], target)
    with pytest.raises(FirmwareError, match=f"running on {target.name}: the run ended with code 1: ERROR: .*bounds"):
        run_image(Image(path, target, "measure", "double"), b"", 60.0)


@in_each_runtime
def test_a_runtime_that_cannot_start_names_the_cause(target: Target, tmp_path: Path) -> None:
    """Node.js without memory for a module was once reported by the place in its script."""
    path = tmp_path / "damaged.wasm"
    path.write_bytes(b"no module")
    expected = f"running on {target.name}: the run ended with code 1: ERROR: .*(magic|module)"
    with pytest.raises(FirmwareError, match=expected):
        run_image(Image(path, target, "measure", "double"), b"", 60.0)


@pytest.mark.needs_tool(*WASM.executables)
def test_sizes_are_those_of_the_sections(tmp_path: Path) -> None:
    emitted = emit(small_net(np.random.default_rng(0), grn=False))
    image = build(emitted, WASM, "double", folder=tmp_path)
    (path,) = (tmp_path / "images").glob("*.elf")
    assert path == image.path
    contents, size = sections(path.read_bytes()), sizes(image)
    assert (size.code_bytes, size.static_ram_bytes) == (len(contents[CODE_SECTION]), len(contents[DATA_SECTION]))
    assert emitted.constant_bytes + emitted.plan.arena_bytes < memory_bytes(path.read_bytes()) < 1 << 20
    assert emitted.constant_bytes < size.static_ram_bytes < size.flash_bytes


@pytest.mark.needs_tool(*WASM.executables)
def test_a_damaged_module_has_no_sections(tmp_path: Path) -> None:
    image = build(emit(small_net(np.random.default_rng(0), grn=False)), WASM, "double", folder=tmp_path)
    module = image.path.read_bytes()
    for damaged in (b"", b"\x7fELF" + module[4:], module[:-1], module[:9], module + b"\x0a\xff"):
        with pytest.raises(FirmwareError, match="WebAssembly module: damaged, or no such module"):
            sections(damaged)


def test_a_missing_runtime_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    packages = {"wasm": "apt-get install nodejs", "wasm-chromium": "apt-get install chromium", "wasm-wasmtime": "pip "}
    for name, package in packages.items():
        runtime = TARGETS[name].runtime
        assert runtime is not None
        with pytest.raises(FirmwareError, match=f"is not installed; next: {package}"):
            runtime_command(runtime)
