"""The stream in C: pieces of any size, clips of any length, and refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.firmware_harness.log_mel.signals import distance, expected_codes, typical_quant
from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.firmware_harness.emit.log_mel import emit_frontend
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.spec import preset

SMALL = replace(preset("passt"), name="small", n_fft=512, win_length=400, hop_length=160, n_mels=32, clip_samples=4000)
PLAIN = replace(SMALL, pre_emphasis=0.0, window="hann_periodic")
IN_INTEGERS = [replace(spec, arithmetic="integer") for spec in (SMALL, PLAIN)]
NAMES = ["pre-emphasis", "plain", "pre-emphasis in integers", "plain in integers"]
needs_host = pytest.mark.needs_tool("gcc")


@lru_cache(maxsize=8)
def _firmware(spec) -> LogMelFirmware:
    return LogMelFirmware(spec, typical_quant(spec), HOST)


def _noise(n: int):
    return np.random.default_rng(n).integers(-9000, 9000, n).astype("<i2")


@needs_host
@settings(max_examples=25)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=12), st.sampled_from([SMALL, PLAIN, *IN_INTEGERS]))
def test_results_do_not_depend_on_the_pieces(sizes: list[int], spec) -> None:
    samples = _noise(sum(sizes) + spec.min_samples)
    pieces = np.split(samples, np.cumsum(sizes))
    whole = np.array_split(samples, range(4000, len(samples), 4000))
    in_pieces, at_once = _firmware(spec).codes([pieces, whole])
    assert np.array_equal(in_pieces, at_once)


@needs_host
@pytest.mark.parametrize("spec", [SMALL, PLAIN, *IN_INTEGERS], ids=NAMES)
def test_clips_of_every_length_end_as_in_numpy(spec) -> None:
    """From the shortest clip over more than a hop, so that the last column is at any distance from the end."""
    lengths = [*range(spec.min_samples, spec.min_samples + 330, 3), 4000]
    clips = [_noise(n) for n in lengths]
    n_equal = n_codes = 0
    for clip, codes in zip(clips, _firmware(spec).codes([[clip] for clip in clips]), strict=True):
        equal, apart = distance(codes, expected_codes(spec, typical_quant(spec), clip))
        assert apart <= (1 if spec.arithmetic == "float" else 0)
        n_equal, n_codes = n_equal + equal * codes.size, n_codes + codes.size
    assert n_equal >= 0.9995 * n_codes


@needs_host
@pytest.mark.parametrize("n", [0, 1, SMALL.min_samples - 1])
def test_too_short_clips_are_refused(n: int) -> None:
    with pytest.raises(FirmwareError, match=f"clip 1: audio too short for one window; expected at least 202.*got {n}$"):
        _firmware(SMALL).codes([[_noise(300)], [_noise(n)]])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"n_fft": 1000}, r"n_fft; expected 256 \| 512 \| 1024 \| 2048 \| 4096; got 1000"),
        ({"n_fft": 8192}, r"n_fft; .*got 8192"),
        ({"hop_length": 401}, "hop_length; expected at most win_length = 400; got 401"),
        ({"n_mels": 1}, "n_mels; expected 2 or more; got 1"),
    ],
)
def test_unsupported_front_ends_are_refused(change: dict, expected: str) -> None:
    with pytest.raises(FirmwareError, match=f"front end 'small' in C: {expected}"):
        emit_frontend(replace(SMALL, **change), typical_quant(SMALL))


def test_scales_too_fine_for_float_are_refused() -> None:
    with pytest.raises(FirmwareError, match="input scale too fine to round in float32"):
        emit_frontend(SMALL, Quant.per_tensor(1e-7, 0))


@pytest.mark.parametrize(
    ("hop_samples", "smoothed_hops", "expected"),
    [
        (0, 1, "expected 4000, or a smaller multiple of 160; got 0"),
        (161, 1, "got 161"),
        (4160, 1, "got 4160"),
        (4000, 0, "results to average; expected 1 or more; got 0"),
    ],
)
def test_invalid_hops_are_refused(hop_samples: int, smoothed_hops: int, expected: str) -> None:
    with pytest.raises(FirmwareError, match=expected):
        emit_frontend(SMALL, typical_quant(SMALL), hop_samples=hop_samples, smoothed_hops=smoothed_hops)
