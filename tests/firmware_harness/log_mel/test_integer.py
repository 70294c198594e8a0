"""Log-mel in integers in C: every code is NumPy's, on every processor, for every kind of front end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.firmware_harness.log_mel.signals import expected_codes, recorded, synthetic, typical_quant
from tests.firmware_harness.log_mel.test_parity import TOOLS
from tinyscene.firmware_harness.build.targets import HOST, TARGETS
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.runtime.spec import PRESETS, FrontendSpec, preset

INSTRUCTIONS = {  # per clip of dcase25
    "cortex-m0plus": 66_000_000,
    "cortex-m3": 25_000_000,
    "riscv32": 25_000_000,
    "cortex-m55": 12_000_000,
}
SPECS = st.builds(
    lambda n_fft, window, hop, mels, emphasis, periodic, htk: replace(
        preset("cpm23"),
        name="drawn",
        n_fft=n_fft,
        win_length=max(4, int(n_fft * window) // 2 * 2),
        hop_length=max(1, int(max(4, int(n_fft * window) // 2 * 2) * hop)),
        n_mels=mels,
        pre_emphasis=emphasis,
        window="hann_periodic" if periodic else "hann_symmetric",
        mel_scale="htk" if htk else "kaldi",
        clip_samples=2 * n_fft + 2,
        arithmetic="integer",
    ),
    st.sampled_from([16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]),
    st.floats(0.2, 1.0),
    st.floats(0.2, 1.0),
    st.integers(2, 64),
    st.sampled_from([0.0, 0.5, 0.97, 1.0]),
    st.booleans(),
    st.booleans(),
)


def _integer(name: str) -> FrontendSpec:
    return replace(preset(name), arithmetic="integer")


def _require_equal(firmware: LogMelFirmware, clips: dict[str, np.ndarray]) -> int:
    """Compare all clips; return the number of codes."""
    spec, quant = firmware.spec, firmware.emitted.quant
    results = firmware.codes([[samples] for samples in clips.values()], timeout_seconds=600.0)
    for (name, samples), codes in zip(clips.items(), results, strict=True):
        assert np.array_equal(codes, expected_codes(spec, quant, samples)), f"{spec.name}, {name}"
    return sum(codes.size for codes in results)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frontends")


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("name", ["cpm23", "dcase25"])
def test_presets_on_host(name: str, folder: Path) -> None:
    spec = _integer(name)
    _require_equal(LogMelFirmware(spec, typical_quant(spec), HOST, folder=folder), synthetic(spec))


@pytest.mark.parametrize("machine", [pytest.param(m, marks=pytest.mark.needs_tool(*TOOLS[m])) for m in INSTRUCTIONS])
def test_instructions_of_a_clip(machine: str, folder: Path) -> None:
    """Processors without a float unit, the slowest for a float front end, and Helium; the last clip is noise."""
    spec = _integer("dcase25")
    clips = synthetic(spec)
    firmware = LogMelFirmware(spec, typical_quant(spec), TARGETS[machine], folder=folder)
    _require_equal(firmware, {name: clips[name] for name in ("square", "noise -40 dB")})
    assert firmware.instructions is not None
    assert firmware.instructions <= INSTRUCTIONS[machine]


@pytest.mark.needs_tool(*TOOLS["cortex-m0plus"])
@pytest.mark.parametrize("n_fft", [16, 64, pytest.param(512, marks=pytest.mark.slow), 2048])
def test_transforms_of_other_sizes_on_armv6m(n_fft: int, folder: Path) -> None:
    """Its assembly turns rows or columns of points, and few or many; full scale is as far as sums go."""
    spec = replace(_integer("cpm23"), name="other", n_fft=n_fft, win_length=n_fft - 4, hop_length=n_fft // 3, n_mels=8)
    spec = replace(spec, clip_samples=2 * n_fft + 2)
    rng, n = np.random.default_rng(n_fft), spec.clip_samples
    square = np.where(np.arange(n) // 7 % 2, 32767, -32768).astype("<i2")
    clips = {"noise": rng.integers(-32768, 32768, n).astype("<i2"), "dc": np.full(n, -32768, "<i2"), "square": square}
    _require_equal(LogMelFirmware(spec, typical_quant(spec), TARGETS["cortex-m0plus"], folder=folder), clips)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("machine", [pytest.param(m, marks=pytest.mark.needs_tool(*TOOLS[m])) for m in TOOLS])
def test_every_target(machine: str, name: str, folder: Path) -> None:
    spec = _integer(name)
    _require_equal(LogMelFirmware(spec, typical_quant(spec), TARGETS[machine], folder=folder), synthetic(spec))


@pytest.mark.slow
@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("name", PRESETS)
def test_recordings(name: str, folder: Path, shared_data: Path) -> None:
    spec = _integer(name)
    _require_equal(LogMelFirmware(spec, typical_quant(spec), HOST, folder=folder), recorded(spec, shared_data))


@pytest.mark.needs_tool("gcc")
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SPECS, st.integers(0, 2**32 - 1))
def test_drawn_front_ends(folder: Path, spec: FrontendSpec, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = [spec.min_samples, spec.min_samples + spec.hop_length // 2 + 1, spec.clip_samples]
    levels = [32767, 3000, 5]
    clips = {
        str(n): rng.integers(-level - 1, level, n, endpoint=True).astype("<i2")
        for n, level in zip(lengths, levels, strict=True)
    }
    _require_equal(LogMelFirmware(spec, typical_quant(spec), HOST, folder=folder), clips)
