"""Each augmentation step by its definition, and reproducibility by seed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.spec import preset
from tinyscene.training.data.microphones import measured_responses
from tinyscene.training.recipe import Augment
from tinyscene.training.transforms.augment import (
    augment_spectrograms,
    change_gain,
    convolve_impulse_responses,
    filter_bands,
    freq_mixstyle,
    jittered_f_max,
    mask_frames,
    mask_frequencies,
    roll_time,
)
from tinyscene.training.transforms.log_mel import TorchLogMel


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_roll_rotates_each_clip_by_its_own_shift() -> None:
    x = torch.arange(50.0).repeat(11, 1)
    shifts = torch.arange(-5, 6)
    for row, shift in zip(roll_time(x, shifts), shifts.tolist(), strict=True):
        assert torch.equal(row, torch.roll(x[0], shift))


def test_each_clip_is_convolved_with_its_response() -> None:
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((40, 300))).float()
    responses = torch.tensor([[0.0, 1.0, 0.5], [2.0, 0.0, -1.0]])
    which = torch.arange(40) % 3 - 1
    y = convolve_impulse_responses(x, responses, which)
    for before, after, i in zip(x, y, which.tolist(), strict=True):
        expected = before if i < 0 else np.convolve(before, responses[i])[:300]
        np.testing.assert_allclose(after, expected, atol=1e-4)
    assert convolve_impulse_responses(x, responses, torch.full((40,), -1)) is x


def test_mixstyle_mixes_statistics_and_keeps_patterns() -> None:
    x = torch.randn(6, 1, 8, 20, generator=random(3)) * torch.arange(1.0, 7.0)[:, None, None, None]
    y = freq_mixstyle(x, 1.0, 0.3, random())

    def pattern(z: torch.Tensor) -> torch.Tensor:
        return (z - z.mean((1, 3), keepdim=True)) / z.std((1, 3), keepdim=True)

    torch.testing.assert_close(pattern(y), pattern(x), atol=1e-3, rtol=0)
    # The deviations are mixtures: one weight per clip, the same for all bins.
    sx, sy = x.std((1, 3)), y.std((1, 3))
    for clip in range(6):
        residuals = []
        for other in range(6):
            step = sx[clip] - sx[other]
            weight = float(((sy[clip] - sx[other]) * step).sum() / step.square().sum()) if other != clip else 1.0
            fit = weight * sx[clip] + (1 - weight) * sx[other]
            residuals.append(float((fit - sy[clip]).abs().max()) if -1e-3 <= weight <= 1 + 1e-3 else 1.0)
        assert min(residuals) < 1e-3
    assert freq_mixstyle(x, 0.0, 0.3, random()) is x
    coins = random(1)
    tossed = [freq_mixstyle(x, 0.4, 0.3, coins) is not x for _ in range(200)]
    assert 50 < sum(tossed) < 110


def test_mask_covers_a_run_of_bands_over_all_frames() -> None:
    x = torch.randn(200, 1, 30, 7, generator=random(3))
    y = mask_frequencies(x, 10, random())
    widths, firsts = set(), set()
    for before, after in zip(x[:, 0], y[:, 0], strict=True):
        bands = torch.nonzero((before != after).any(dim=1)).flatten().tolist()
        widths.add(len(bands))
        if bands:
            firsts.add(bands[0])
            assert bands == list(range(bands[0], bands[0] + len(bands)))
            assert torch.allclose(after[bands], before.mean())
    assert widths == set(range(11))
    assert min(firsts) == 0
    assert max(firsts) >= 20


def test_mask_covers_a_run_of_frames_over_all_bands() -> None:
    x = torch.randn(100, 1, 7, 30, generator=random(3))
    y = mask_frames(x, 5, random())
    for before, after in zip(x[:, 0], y[:, 0], strict=True):
        frames = torch.nonzero((before != after).any(dim=0)).flatten().tolist()
        assert frames == list(range(frames[0], frames[0] + len(frames))) if frames else True
        assert len(frames) <= 5
        assert torch.allclose(after[:, frames], before.mean())


def test_gain_is_in_decibels_and_one_per_clip() -> None:
    x = torch.randn(3, 8)
    louder = change_gain(x, torch.tensor([0.0, 20.0, -6.0]))
    torch.testing.assert_close(louder, x * torch.tensor([[1.0], [10.0], [0.50119]]))


def test_filter_is_a_bounded_gain_over_frequency() -> None:
    spec = preset("cpm23")
    x = torch.randn(300, 1, 64, 9, generator=random(2))
    generator = random()
    bends = set()
    for _ in range(12):
        moved = filter_bands(x, 8.0, spec.norm_std, generator) - x
        torch.testing.assert_close(moved, moved[..., :1].expand_as(moved), atol=1e-5, rtol=0)
        decibels = moved[:, 0, :, 0] * spec.norm_std * 10 / np.log(10)
        assert 7.5 < float(decibels.abs().max()) <= 8 + 1e-3
        assert abs(float(decibels.mean())) < 0.5
        bend = decibels.diff(dim=1).diff(dim=1).abs() > 1e-2
        bends.add(int(bend.sum(dim=1).max()))
    assert max(bends) <= 2 * 4  # a corner between two bands bends at both
    assert len(bends) > 1


def test_filter_equals_the_same_gain_on_the_waveform() -> None:
    """All corners at one level are a change of volume."""
    spec = preset("cpm23")
    samples = 0.1 * torch.randn(2, spec.clip_samples, generator=random(4))
    log_mel = TorchLogMel(spec)
    louder = log_mel(samples * 10 ** (6 / 20)) - log_mel(samples)
    assert float(louder.median()) == pytest.approx(6 * np.log(10) / 10 / spec.norm_std, rel=1e-3)


def test_measured_responses_have_unit_energy_at_the_rate(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    decay = np.exp(-np.arange(4800) / 300)
    soundfile.write(tmp_path / "b.wav", 0.5 * rng.standard_normal(4800) * decay, 48_000, subtype="FLOAT")
    soundfile.write(tmp_path / "a.wav", np.stack([decay[:100], decay[:100]], axis=1), 32_000, subtype="FLOAT")
    responses = measured_responses(tmp_path, 32_000)
    assert responses.shape == (2, 3200)
    assert responses.dtype == np.float32
    np.testing.assert_allclose((responses**2).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(responses[0, :100], decay[:100] / np.sqrt((decay[:100] ** 2).sum()), rtol=1e-4)
    for content, says in (("nonsense", "not a readable"), (None, "no impulse responses")):
        folder = tmp_path / says.replace(" ", "")
        if content:
            folder.mkdir()
            (folder / "x.wav").write_text(content)
        with pytest.raises(TinysceneError, match=says):
            measured_responses(folder, 32_000)


def test_measured_responses_are_read_as_all_audio_is(tmp_path: Path) -> None:
    """A pipe is no file, and a rate of 1 Hz would make seconds of every sample."""
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(TinysceneError, match="not a file"):
        measured_responses(tmp_path, 32_000)
    (tmp_path / "a.wav").unlink()
    soundfile.write(tmp_path / "a.wav", np.ones(10), 1)
    with pytest.raises(TinysceneError, match="expected 1,000 to 768,000 Hz; got 1"):
        measured_responses(tmp_path, 32_000)


def test_upper_edge_stays_in_its_range() -> None:
    generator = random()
    edges = [jittered_f_max(preset("cpm23"), 1000, generator) for _ in range(500)]
    assert 15_000 < min(edges) < 15_050
    assert 15_950 < max(edges) <= 16_000


def test_equal_seeds_give_equal_spectrograms() -> None:
    settings = Augment(mixstyle_p=0.5, filter_db=6, freq_mask_bins=8, time_mask_frames=4)
    x = torch.randn(8, 1, 20, 10)
    first, again, other = (augment_spectrograms(x, settings, 5.0, random(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("field", ["device_ir_p", "mixstyle_p", "mixup_p"])
def test_probabilities_are_checked(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Augment(**{field: 1.5})
