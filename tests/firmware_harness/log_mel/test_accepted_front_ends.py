"""A front end that is accepted also runs: whole, as a stream, and in C or with a refusal of the emitter."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinyscene.firmware_harness.emit.log_mel import emit_frontend
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.integer_log_mel import open_log_mel
from tinyscene.runtime.spec import FrontendSpec, preset

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "sample_rate_hz": st.sampled_from([1_000, 8_000, 44_100, 768_000]),
        "n_fft": st.sampled_from([16, 17, 255, 256, 512, 1000, 4096, 16_384]),
        "win_length": st.sampled_from([4, 5, 16, 255, 256, 400, 4096]),
        "hop_length": st.sampled_from([1, 7, 256, 5000, 65_536]),
        "n_mels": st.sampled_from([1, 2, 3, 40, 512]),
        "mel_scale": st.sampled_from(["kaldi", "htk"]),
        "f_min_hz": st.sampled_from([0, 0.0, 100.0, 499.0, 15_000.0]),
        "f_max_hz": st.sampled_from([1.0, 100, 500.0, 4000.0, 16_000.0, 384_000.0]),
        "pre_emphasis": st.sampled_from([0, 0.0, 1e-40, 0.5, 1]),
        "window": st.sampled_from(["hann_symmetric", "hann_periodic"]),
        "log_offset": st.sampled_from([1e-30, 1e-5, 1, 1e6]),
        "norm_mean": st.sampled_from([-1e6, 0, 1e6]),
        "norm_std": st.sampled_from([1e-6, 1, 1e6]),
        "clip_samples": st.sampled_from([4, 5, 255, 8000, 20_000]),
        "arithmetic": st.sampled_from(["float", "integer"]),
    },
)


@settings(max_examples=40)
@example({"win_length": 5, "pre_emphasis": 0}, 0.02)  # the last frame of an odd window was missing
@given(CHANGES, st.sampled_from([2.0**-40, 0.02, 2.0**40]))
def test_a_front_end_is_refused_or_runs(changes: dict[str, Any], scale: float) -> None:
    small = replace(preset("cpm23"), n_fft=512, win_length=400, hop_length=400, n_mels=40, clip_samples=8000)
    try:
        spec = FrontendSpec.from_json({**small.to_json(), **changes})
    except RuntimeFailure:
        return
    samples = np.random.default_rng(0).uniform(-1, 1, spec.clip_samples).astype(np.float32)
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        with contextlib.suppress(FirmwareError, RuntimeFailure):
            emit_frontend(spec, Quant.per_tensor(scale, 0))
        try:
            log_mel = open_log_mel(spec)
        except RuntimeFailure:
            assert spec.arithmetic == "integer"
            return
        whole, stream = log_mel(samples), log_mel.stream()
        pieces = [stream.push(samples[:100]), stream.push(samples[100:]), stream.flush()]
    assert whole.shape == (spec.n_mels, spec.n_frames)
    assert np.isfinite(whole).all()
    assert np.array_equal(np.concatenate(pieces, axis=1), whole)


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"n_fft": 2**15},
            {"n_fft": 2**31},
            {"n_mels": 513},
            {"n_mels": 10**9},
            {"hop_length": 2**31},
            {"win_length": 1},
            {"win_length": 401},
        ),
        *(
            {"clip_samples": 2**40},
            {"clip_samples": 1000},
            {"hop_length": 1},
            {"sample_rate_hz": 1},
            {"norm_std": 1e-44},
        ),
        *({"sample_rate_hz": 536_886_912}, {"norm_std": 1e300}, {"norm_mean": float("nan")}, {"log_offset": 10**400}),
        *({"f_min_hz": -1.0}, {"f_min_hz": 15_499.5}, {"pre_emphasis": 2}, {"pre_emphasis": True}, {"name": "a\0"}),
        *({"name": "x" * 65}, {"window": ["hann_periodic"]}, {"mel_scale": None}, {"n_mels": 40.0}),
        *({"arithmetic": "fixed"}, {"arithmetic": None}),
    ],
    ids=str,
)
def test_a_front_end_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RuntimeFailure, match=next(iter(change))):
        FrontendSpec.from_json({**preset("cpm23").to_json(), **change})
