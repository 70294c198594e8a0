"""Log-mel: compared with published values, librosa and a dense form; stream equals clip; invalid audio is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.log_mel import LogMel, mel_bank, sparse_mel, window
from tinyscene.runtime.spec import PRESETS, FrontendSpec, preset

SMALL = replace(preset("cpm23"), n_fft=512, win_length=400, hop_length=100, n_mels=40, clip_samples=3000)
SMALL_HTK = replace(SMALL, mel_scale="htk", pre_emphasis=0.0, window="hann_periodic")


def _noise(seed, samples, scale=0.1):
    return (np.random.default_rng(seed).standard_normal(samples) * scale).astype(np.float32)


def test_published_log_mel(shared_data):
    """Log-mels of real clips by the 2023 winner's code; 1e-3 of the normalised value is 0.02 dB."""
    golden = np.load(shared_data / "golden" / "cpm23_real_weights.npz")
    log_mel = LogMel(preset("cpm23"))
    worst = 0.0
    for audio, expected in zip(golden["audio_32k"], golden["log_mel"], strict=True):
        got = log_mel(audio.astype(np.float32))
        assert got.shape == expected.shape == (256, 64)
        worst = max(worst, float(np.abs(got - expected).max()))
    decibels = worst * preset("cpm23").norm_std * 10 / np.log(10)
    print(f"cpm23 log-mel: at most {worst:.2e} from the published values ({decibels:.4f} dB)")
    assert worst < 1e-3


@pytest.mark.needs_module("librosa")
def test_dcase25_equals_librosa():
    import librosa

    spec = preset("dcase25")
    audio = _noise(1, spec.clip_samples)
    power = librosa.feature.melspectrogram(
        y=audio,
        sr=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        win_length=spec.win_length,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        fmin=spec.f_min_hz,
        fmax=spec.f_max_hz,
        htk=True,
        norm=None,
        pad_mode="reflect",
        center=True,
        power=2.0,
    )
    expected = np.log(power + spec.log_offset)
    got = LogMel(spec)(audio)
    assert got.shape == expected.shape == (256, 65)
    assert np.abs(got - expected).max() < 1e-3


@pytest.mark.parametrize("name", PRESETS)
def test_the_sparse_bank_equals_the_dense_one(name):
    spec = preset(name)
    sparse, dense = sparse_mel(spec), mel_bank(spec)
    rebuilt = np.zeros_like(dense)
    for band, (first, length, start) in enumerate(zip(sparse.first, sparse.length, sparse.start, strict=True)):
        rebuilt[band, first : first + length] = sparse.weight[start : start + length]
    assert np.array_equal(rebuilt, dense)
    assert sparse.bins.shape == sparse.weight.shape
    assert len(sparse.weight) < 0.02 * dense.size


@pytest.mark.parametrize("spec", [SMALL, SMALL_HTK, preset("cpm23"), preset("dcase25")], ids=lambda s: s.name)
def test_frames_equal_the_definition(spec):
    """Centred, reflect-padded frames, one by one, in float64 and with the dense bank."""
    audio = _noise(2, spec.clip_samples)
    signal = audio.astype(np.float64)
    if spec.pre_emphasis:
        signal = signal[1:] - spec.pre_emphasis * signal[:-1]
    half = spec.n_fft // 2
    padded = np.pad(signal, half, mode="reflect")
    taper = np.zeros(spec.n_fft)
    left = (spec.n_fft - spec.win_length) // 2
    taper[left : left + spec.win_length] = window(spec)
    got = LogMel(spec)(audio)
    assert got.shape == (spec.n_mels, spec.n_frames)
    for frame in range(spec.n_frames):
        piece = padded[frame * spec.hop_length :][: spec.n_fft]
        power = np.abs(np.fft.rfft(piece * taper)) ** 2
        expected = (
            np.log(mel_bank(spec).astype(np.float64) @ power + spec.log_offset) - spec.norm_mean
        ) / spec.norm_std
        assert np.abs(got[:, frame] - expected).max() < 2e-4, frame


@pytest.mark.parametrize("spec", [SMALL, SMALL_HTK], ids=["pre-emphasis", "plain"])
@given(samples=st.integers(202, 2500), cuts=st.lists(st.integers(0, 2500), max_size=20))
def test_a_stream_equals_the_clip_bit_for_bit(spec, samples, cuts):
    """For any pieces, empty ones and single samples included."""
    audio = _noise(samples, samples)
    stream = LogMel(spec).stream()
    pieces = np.split(audio, sorted(min(cut, samples) for cut in cuts))
    frames = [stream.push(piece) for piece in pieces] + [stream.flush()]
    assert np.array_equal(np.concatenate(frames, axis=1), LogMel(spec)(audio))


@pytest.mark.parametrize("name", ["cpm23", "dcase25"])
@pytest.mark.parametrize("chunk", [1, 499, 500, 4096, 31_999])
def test_a_stream_of_a_real_preset(name, chunk):
    spec = preset(name)
    audio = _noise(3, 40_000 if chunk > 1 else 4000)
    stream = LogMel(spec).stream()
    pieces = [stream.push(audio[at : at + chunk]) for at in range(0, len(audio), chunk)] + [stream.flush()]
    assert np.array_equal(np.concatenate(pieces, axis=1), LogMel(spec)(audio))


def test_a_stream_returns_a_frame_as_soon_as_its_samples_arrived():
    """Latency: frame k needs samples up to k * hop + half a window, and one more for pre-emphasis."""
    audio, stream, seen = _noise(4, 3000), LogMel(SMALL).stream(), 0
    for at, sample in enumerate(audio, start=1):
        frames = stream.push(audio[at - 1 : at]).shape[1]
        for _ in range(frames):
            assert at == seen * SMALL.hop_length + SMALL.win_length // 2 + 1 + (seen == 0)
            seen += 1
        assert np.isfinite(sample)
    assert seen == 28


def test_a_stream_keeps_at_most_a_window_and_a_piece():
    stream = LogMel(SMALL).stream()
    for seed in range(200):
        stream.push(_noise(seed, 150))
        assert stream._tail.size <= SMALL.win_length + 2 * 150


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", ["silence", "constant", "impulse", "full scale", "tiny"])
def test_extreme_signals_stay_finite(name, kind):
    spec = preset(name)
    audio = np.zeros(spec.clip_samples, np.float32)
    if kind == "constant":
        audio += 0.7
    elif kind == "impulse":
        audio[spec.clip_samples // 2] = 1.0
    elif kind == "full scale":
        audio[:] = np.sign(np.sin(np.arange(spec.clip_samples) * 0.3))
    elif kind == "tiny":
        audio += np.float32(1e-38)
    got = LogMel(spec)(audio)
    assert got.dtype == np.float32
    assert np.isfinite(got).all()
    floor = (np.log(spec.log_offset) - spec.norm_mean) / spec.norm_std
    assert got.min() >= floor - 1e-5
    if kind in ("silence", "tiny"):
        assert np.allclose(got, floor, atol=1e-5)


def test_a_tone_is_loudest_in_its_own_band():
    spec = preset("dcase25")
    for hz in (200.0, 1000.0, 5000.0, 12_000.0):
        t = np.arange(spec.clip_samples) / spec.sample_rate_hz
        got = LogMel(spec)(np.sin(2 * np.pi * hz * t).astype(np.float32))
        band = int(got[:, 30].argmax())
        bins = np.flatnonzero(mel_bank(spec)[band]) * spec.sample_rate_hz / spec.n_fft
        assert bins.min() - 20 <= hz <= bins.max() + 20


@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        (np.zeros((2, 5000), np.float32), r"not one channel.*float32 \(2, 5000\)"),
        (np.zeros(5000, np.float64), "not one channel.*float64"),
        (np.zeros(5000, np.int16), "not one channel.*int16"),
        (np.full(5000, np.nan, np.float32), "sample 0 is not finite"),
        (np.where(np.arange(5000) == 77, np.inf, 0).astype(np.float32), "sample 77 is not finite"),
        (np.zeros(150, np.float32), "too short.*at least 202 samples; got 150"),
    ],
    ids=["stereo", "double", "integers", "nan", "infinite", "short"],
)
def test_invalid_audio_is_refused(audio, complaint):
    with pytest.raises(RuntimeFailure, match=complaint):
        LogMel(SMALL)(audio)


def test_the_shortest_audio_has_min_samples():
    assert SMALL.min_samples == 202
    assert LogMel(SMALL)(_noise(0, 202)).shape[1] == 3
    with pytest.raises(RuntimeFailure, match="too short"):
        LogMel(SMALL)(_noise(0, 201))


def test_a_flushed_stream_takes_no_more_audio():
    stream = LogMel(SMALL).stream()
    stream.push(_noise(0, 1000))
    assert stream.flush().shape[1] > 0
    assert stream.flush().shape == (40, 0)
    with pytest.raises(RuntimeFailure, match="push after flush"):
        stream.push(_noise(0, 10))


def test_an_empty_stream_has_no_frames():
    stream = LogMel(SMALL).stream()
    assert stream.push(np.zeros(0, np.float32)).shape == (40, 0)
    assert stream.flush().shape == (40, 0)


@pytest.mark.parametrize("name", PRESETS)
def test_a_spec_is_read_back_equal(name):
    spec = preset(name)
    again = FrontendSpec.from_json(spec.to_json())
    assert again == spec
    assert again.digest() == spec.digest()
    assert len({p.digest() for p in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize(("name", "frames"), [("cpm23", 64), ("dcase25", 65), ("cpresnet", 43), ("passt", 100)])
def test_frames_of_a_clip(name, frames):
    spec = preset(name)
    assert spec.n_frames == frames
    assert LogMel(spec)(_noise(0, spec.clip_samples)).shape == (spec.n_mels, frames)


@pytest.mark.parametrize(
    "change",
    [
        {"hop_length": 0},
        {"win_length": 5000},
        {"f_max_hz": 16_001.0},
        {"f_min_hz": 15_500.0},
        {"mel_scale": "slaney"},
        {"window": "hamming"},
        {"log_offset": 0.0},
        {"norm_std": 0.0},
    ],
    ids=lambda c: next(iter(c)),
)
def test_invalid_specs_are_refused(change):
    with pytest.raises(RuntimeFailure, match=r"front end 'cpm23', \w+: (invalid|out of range|unknown)"):
        replace(preset("cpm23"), **change)


def test_unknown_presets_and_fields_are_refused():
    with pytest.raises(RuntimeFailure, match=r"'cpm24'.*unknown preset; expected cpm23 \| dcase25"):
        preset("cpm24")
    with pytest.raises(RuntimeFailure, match="front end record, extra: unknown field"):
        FrontendSpec.from_json({**preset("cpm23").to_json(), "extra": 1})
