"""Log-mel in integer arithmetic: near the float one, within 32 bits, with tables that every machine rounds alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware_harness.log_mel.signals import distance, expected_codes, synthetic, typical_quant
from tinyscene.runtime import integer_log_mel
from tinyscene.runtime.arith import quantise
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.integer_log_mel import IntegerLogMel, open_log_mel
from tinyscene.runtime.integer_tables import LOG_BITS, TURN_BITS, integer_tables
from tinyscene.runtime.log_mel import LogMel, hann
from tinyscene.runtime.spec import PRESETS, FrontendSpec, preset

SMALL = replace(preset("passt"), name="small", n_fft=512, win_length=400, hop_length=160, n_mels=32, clip_samples=4000)
INT32 = range(-(2**31), 2**31)


def _integer(spec: FrontendSpec) -> FrontendSpec:
    return replace(spec, arithmetic="integer")


@pytest.mark.parametrize("name", PRESETS)
def test_codes_are_those_of_the_float_log_mel_or_next_to_them(name: str) -> None:
    spec, quant = preset(name), typical_quant(preset(name))
    different = codes = 0
    for signal, samples in synthetic(spec).items():
        exact = expected_codes(_integer(spec), quant, samples)
        equal, apart = distance(exact, expected_codes(spec, quant, samples))
        assert apart <= 1, signal
        different, codes = different + (1.0 - equal) * exact.size, codes + exact.size
    assert different / codes < 0.003


@pytest.mark.parametrize("n_fft", [16, 32, 64, 128, 2048, 8192, 16_384])
def test_every_fft_length(n_fft: int) -> None:
    rate = 32_000
    spec = replace(
        SMALL,
        n_fft=n_fft,
        win_length=n_fft,
        hop_length=n_fft // 2,
        clip_samples=4 * n_fft,
        n_mels=min(40, n_fft // 16 + 1),
    )
    t = np.arange(spec.clip_samples) / rate
    samples = np.random.default_rng(n_fft).normal(0.0, 0.1, spec.clip_samples) + 0.3 * np.sin(2 * np.pi * 3000 * t)
    pcm = np.rint(samples.astype(np.float32) * 32768) / np.float32(32768)
    assert np.abs(LogMel(spec)(pcm) - open_log_mel(_integer(spec))(pcm)).max() < 2e-3


@pytest.mark.parametrize(
    "spec", [preset("dcase25"), preset("cpm23"), replace(SMALL, n_fft=256, win_length=16)], ids=lambda spec: spec.name
)
def test_every_sum_fits_32_bits(spec: FrontendSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full scale with the sign of each bin's cosine or sine, which makes the largest bins."""
    largest = []

    class Watched(integer_log_mel.Complex):
        def __init__(self, re: np.ndarray, im: np.ndarray) -> None:
            super().__init__(re, im)
            for part in (self.re, self.im):
                largest.append(int(np.abs(part).max()))
                assert int(part.min()) in INT32
                assert int(part.max()) in INT32

    monkeypatch.setattr(integer_log_mel, "Complex", Watched)
    tables = integer_tables(_integer(spec))
    log_mel = IntegerLogMel(_integer(spec))
    t = np.arange(spec.win_length + 1)
    windows = [np.full(len(t), -1), np.where(t % 2, -1, 1)]
    for k in (1, 2, 7, spec.n_fft // 8, spec.n_fft // 4, spec.n_fft // 4 + 3, spec.n_fft // 2 - 1):
        windows += [np.sign(np.cos(2 * np.pi * k * t / spec.n_fft)), np.sign(np.sin(2 * np.pi * k * t / spec.n_fft))]
    for window in windows:
        pcm = np.clip(window * 32768, -32768, 32767).astype(np.int64)
        framed = log_mel.emphasised(pcm) if spec.pre_emphasis else pcm[:-1]
        assert np.abs(framed).max() < 2**31
        power = integer_log_mel._bands(tables, integer_log_mel._spectrum(tables, framed[None]))
        assert 0 <= power.min() <= power.max() < 2**61
    assert max(largest) > 2**28  # the room is used


@pytest.mark.parametrize("n_fft", [2**n for n in range(4, 15)])
def test_cosines_are_far_from_the_middle_between_integers(n_fft: int) -> None:
    """So that float64 of every machine, right to a few units in its last place, rounds them alike."""
    exact = np.cos(2.0 * np.pi * np.arange(n_fft // 4 + 1) / n_fft) * 2.0**TURN_BITS
    assert np.abs(np.abs(exact - np.floor(exact)) - 0.5).min() > 1e-6


@pytest.mark.parametrize("name", PRESETS)
def test_tables_of_the_presets_are_far_from_the_middle_between_integers(name: str) -> None:
    spec = preset(name)
    window = hann(spec, np.arange(spec.win_length // 2 + 1)) * 2.0**TURN_BITS
    logs = np.log2(1.0 + np.arange(129) / 128) * 2.0**LOG_BITS
    for exact in (window, logs):
        assert np.abs(np.abs(exact - np.floor(exact)) - 0.5).min() > 1e-6


@given(st.integers(-128, 127), st.floats(1e-3, 0.2), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_values_for_a_network_are_those_of_its_codes(zero_point: int, scale: float, seed: int) -> None:
    """Quantising the log-mel of a network's input gives the codes that it was made from."""
    quant = Quant.per_tensor(scale, zero_point)
    samples = np.random.default_rng(seed).uniform(-1, 1, SMALL.clip_samples).astype(np.float32)
    values = open_log_mel(_integer(SMALL), quant)(samples)
    codes = np.rint(values / np.float32(quant.scale[0])).astype(np.int64) + zero_point
    assert np.array_equal(quantise(values, quant), codes)
    assert codes.min() >= -128
    assert codes.max() <= 127


def test_silence_is_the_floor_and_the_float_value() -> None:
    for name in PRESETS:
        spec = _integer(preset(name))
        silence = open_log_mel(spec)(np.zeros(spec.clip_samples, np.float32))
        assert np.allclose(silence, spec.floor, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "quant", "match"),
    [
        ({"n_fft": 500}, None, "n_fft: invalid value; expected a power of two for integer arithmetic; got 500"),
        ({"log_offset": 1e6, "n_fft": 16, "win_length": 16, "n_mels": 2}, None, "log_offset; expected at most"),
        ({}, Quant.per_tensor(2.0**-40, 0), "too fine for 32 bits"),
    ],
)
def test_refusals(change: dict, quant: Quant | None, match: str) -> None:
    with pytest.raises(RuntimeFailure, match=match):
        open_log_mel(replace(SMALL, arithmetic="integer", **change), quant)


def test_the_float_log_mel_refuses_the_other_arithmetic() -> None:
    with pytest.raises(RuntimeFailure, match="arithmetic; expected float; got integer"):
        LogMel(_integer(SMALL))
