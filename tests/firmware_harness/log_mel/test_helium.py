"""The log-mel for Helium against the portable code: equal bytes for any transform, window and mel bank."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.firmware_harness.log_mel.signals import typical_quant
from tinyscene.firmware_harness.build.targets import CORTEX_M55, HOST
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.runtime.spec import preset

SIZES = st.fixed_dictionaries(
    {
        "n_fft": st.sampled_from([256, 512, 1024, 2048, 4096]),
        "n_mels": st.integers(2, 70),
        "pre_emphasis": st.sampled_from([0.0, 0.97]),
        "window": st.sampled_from(["hann_symmetric", "hann_periodic"]),
        "log_offset": st.sampled_from([1e-30, 1e-5, 1.0]),
    }
)


@pytest.mark.needs_tool("gcc", "arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SIZES, st.floats(0.02, 1.0), st.floats(0.01, 1.0), st.lists(st.integers(0, 700), min_size=1, max_size=6))
def test_any_size(change: dict[str, Any], window_share: float, hop_share: float, sizes: list[int]) -> None:
    """Noise in pieces of any size."""
    win_length = 2 * max(2, round(change["n_fft"] / 2 * window_share))
    hop_length = max(1, round(win_length * hop_share))
    spec = replace(
        preset("dcase25"), name="other", clip_samples=8000, win_length=win_length, hop_length=hop_length, **change
    )
    samples = np.random.default_rng(sum(sizes)).integers(-9000, 9000, sum(sizes) + spec.min_samples).astype("<i2")
    pieces = [np.split(samples, np.cumsum(sizes))]
    (expected,), (codes,) = (
        LogMelFirmware(spec, typical_quant(spec), target).codes(pieces) for target in (HOST, CORTEX_M55)
    )
    assert np.array_equal(codes, expected)
