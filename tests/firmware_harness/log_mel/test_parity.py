"""Log-mel in C compared with NumPy, in int8 input codes; processors with a float unit are bit-exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.log_mel.signals import distance, expected_codes, recorded, synthetic, typical_quant
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, HOST, TARGETS, WASM
from tinyscene.firmware_harness.emit.log_mel import emit_frontend
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.runtime.spec import PRESETS, preset

EQUAL = 0.999
INSTRUCTIONS = {  # per clip
    CORTEX_M4: {"cpm23": 10_000_000, "dcase25": 10_000_000, "cpresnet": 6_800_000, "passt": 4_500_000},
    CORTEX_M55: {"cpm23": 3_800_000, "dcase25": 3_800_000, "cpresnet": 2_600_000, "passt": 1_700_000},
}
TOOLS = {
    "host": ("gcc",),
    "riscv32": ("riscv64-unknown-elf-gcc", "qemu-system-riscv32"),
    "xtensa": ("xtensa-lx106-elf-gcc", "qemu-system-xtensa"),
    **{name: ("arm-none-eabi-gcc", "qemu-system-arm") for name in TARGETS if name.startswith("cortex")},
    "wasm": WASM.executables,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frontends")


def _compare(firmware: LogMelFirmware, clips, quant) -> None:
    for (name, samples), codes in zip(clips.items(), firmware.codes([[s] for s in clips.values()]), strict=True):
        equal, apart = distance(codes, expected_codes(firmware.spec, quant, samples))
        assert apart <= 1, f"{firmware.spec.name}, {name}"
        assert equal >= EQUAL, f"{firmware.spec.name}, {name}: {equal:.4%} equal"


@pytest.mark.needs_tool("gcc", "arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str, folder: Path) -> None:
    """The host against NumPy, and the assembly of two processors against the host."""
    spec, quant = preset(name), typical_quant(preset(name))
    clips = synthetic(spec)
    host = LogMelFirmware(spec, quant, HOST, folder=folder)
    _compare(host, clips, quant)
    pieces = [[samples] for samples in clips.values()]
    expected = host.codes(pieces)
    for target, limits in INSTRUCTIONS.items():
        firmware = LogMelFirmware(spec, quant, target, folder=folder)
        for on_host, on_target in zip(expected, firmware.codes(pieces), strict=True):
            assert np.array_equal(on_host, on_target)
        assert firmware.instructions is not None
        assert firmware.instructions <= limits[name]


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("name", PRESETS)
def test_recordings(name: str, folder: Path, shared_data: Path) -> None:
    spec, quant = preset(name), typical_quant(preset(name))
    clips = recorded(spec, shared_data)
    assert len(clips) >= 15
    _compare(LogMelFirmware(spec, quant, HOST, folder=folder), clips, quant)


@pytest.mark.parametrize(
    "name", ["cortex-m0plus", "cortex-m7", "cortex-m33", "cortex-m55", "riscv32", "xtensa", "wasm"]
)
def test_other_processors(name: str, folder: Path, needs_tool) -> None:
    """With a float unit the bytes equal the host's; without one a fused multiply-add rounds twice."""
    needs_tool("gcc", *TOOLS[name])
    spec = preset("passt")
    quant = typical_quant(spec)
    clips = {key: clip[:8000] for key, clip in synthetic(spec).items() if key in ("chirp", "noise -40 dB")}
    pieces = [[samples] for samples in clips.values()]
    firmware = LogMelFirmware(spec, quant, TARGETS[name], folder=folder)
    if TARGETS[name].soft_float:
        _compare(firmware, clips, quant)
        return
    for on_target, on_host in zip(
        LogMelFirmware(spec, quant, HOST, folder=folder).codes(pieces), firmware.codes(pieces), strict=True
    ):
        assert np.array_equal(on_target, on_host)


@pytest.mark.needs_tool("gcc", "arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize(
    "change",
    [
        {"n_fft": 256, "win_length": 256, "hop_length": 256, "n_mels": 20},
        {"n_fft": 512, "win_length": 34, "hop_length": 7, "n_mels": 40, "window": "hann_periodic"},
        {"n_fft": 1024, "win_length": 1022, "hop_length": 1000, "n_mels": 64, "mel_scale": "htk"},
        {"n_fft": 2048, "win_length": 1538, "hop_length": 512, "f_min_hz": 300.0, "f_max_hz": 3800.0, "n_mels": 32},
        {"n_fft": 4096, "win_length": 4096, "hop_length": 640, "n_mels": 2, "norm_mean": 3.0, "norm_std": 0.5},
        {"sample_rate_hz": 8000, "f_max_hz": 4000.0, "n_fft": 512, "win_length": 200, "hop_length": 80, "n_mels": 30},
    ],
    ids=lambda change: str(change["n_fft"]),
)
def test_other_sizes(change: dict, folder: Path) -> None:
    """Every length of the transform, windows and mel banks of various extents; Helium's vectors against the host."""
    spec = replace(preset("dcase25"), name="other", clip_samples=8000, **change)
    quant = typical_quant(spec)
    clips = {key: clip for key, clip in synthetic(spec).items() if key != "chirp"}
    host, helium = (LogMelFirmware(spec, quant, target, folder=folder) for target in (HOST, CORTEX_M55))
    _compare(host, clips, quant)
    pieces = [[samples] for samples in clips.values()]
    for on_host, on_helium in zip(host.codes(pieces), helium.codes(pieces), strict=True):
        assert np.array_equal(on_host, on_helium)


def test_the_tables_are_those_of_numpy() -> None:
    """Half a window and one weight per bin: less than 40 kB for the largest."""
    for name in PRESETS:
        emitted = emit_frontend(preset(name), typical_quant(preset(name)))
        assert emitted.constant_bytes < 40_000
        assert all("0x" in text or "#define" in text for text in emitted.headers.values())


def test_a_name_does_not_end_its_comment() -> None:
    spec = replace(preset("cpm23"), name='*/ #error "/*')
    first = emit_frontend(spec, typical_quant(spec)).headers["frontend.h"].splitlines()[0]
    assert (first.find("*/"), first.rfind("/*")) == (len(first) - 2, 0)
