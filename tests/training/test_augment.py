"""Each augmentation against its definition, and all of them against their seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from runtime.spec import preset
from training.augment import (
    augment_spectrograms,
    augment_waveforms,
    change_gain,
    convolve_impulse_responses,
    draw_mixing,
    filter_bands,
    freq_mixstyle,
    jittered_f_max,
    mask_frames,
    mask_frequencies,
    roll_time,
)
from training.devices import measured_responses
from training.errors import TrainingError
from training.frontend import TorchLogMel
from training.recipe import Augment


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_roll_rotates_each_clip_by_its_own_shift() -> None:
    x = torch.arange(50.0).repeat(64, 1)
    rolled = roll_time(x, 5, random())
    shifts = rolled.argmin(dim=1)
    assert set(shifts.tolist()) == {0, 1, 2, 3, 4, 5, 45, 46, 47, 48, 49}
    for row, shift in zip(rolled, shifts.tolist(), strict=True):
        assert torch.equal(row, torch.roll(x[0], shift))


def test_impulse_responses_reach_eligible_clips_only() -> None:
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((40, 300))).float()
    responses = torch.tensor([[0.0, 1.0, 0.5], [2.0, 0.0, -1.0]])
    eligible = torch.arange(40) % 2 == 0
    y = convolve_impulse_responses(x, responses, eligible, 1.0, random())
    assert torch.equal(y[1::2], x[1::2])
    used = set()
    for before, after in zip(x[::2], y[::2], strict=True):
        fits = [i for i, r in enumerate(responses) if np.allclose(np.convolve(before, r)[:300], after, atol=1e-4)]
        assert len(fits) == 1
        used.update(fits)
    assert used == {0, 1}
    changed = (convolve_impulse_responses(x, responses, torch.ones(40).bool(), 0.5, random()) != x).any(dim=1)
    assert 5 < int(changed.sum()) < 35
    assert convolve_impulse_responses(x, responses, eligible, 0.0, random()) is x


def test_mixstyle_moves_statistics_between_clips_and_keeps_their_pattern() -> None:
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


def test_gain_is_uniform_in_decibels_and_one_per_clip() -> None:
    x = torch.randn(2000, 8)
    ratio = change_gain(x, 6.0, random()) / x
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    decibels = 20 * torch.log10(ratio[:, 0])
    assert -6 <= float(decibels.min()) < -5.8
    assert 5.8 < float(decibels.max()) <= 6
    assert float(decibels.std()) == pytest.approx(12 / 12**0.5, rel=0.05)


def test_mixing_is_of_two_clips_and_the_first_outweighs() -> None:
    mixing = draw_mixing(500, 1.0, 0.4, random(), torch.device("cpu"))
    assert mixing is not None
    assert sorted(mixing.other.tolist()) == list(range(500))
    assert float(mixing.weight.min()) >= 0.5
    drawn = np.random.default_rng(0).beta(0.4, 0.4, 100_000)
    assert float(mixing.weight.mean()) == pytest.approx(np.maximum(drawn, 1 - drawn).mean(), abs=0.03)
    x = torch.randn(500, 3)
    mixed = mixing.of(x, x[mixing.other])
    for i in (0, 7, 499):
        w = mixing.weight[i]
        torch.testing.assert_close(mixed[i], w * x[i] + (1 - w) * x[mixing.other[i]])
    coins = random(1)
    drawn_at_all = [draw_mixing(2, 0.3, 0.4, coins, torch.device("cpu")) is not None for _ in range(200)]
    assert 35 < sum(drawn_at_all) < 90


def test_filter_is_a_gain_over_frequency_alone_within_its_bounds() -> None:
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


def test_filter_is_what_the_same_gain_on_the_waveform_would_be() -> None:
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
        with pytest.raises(TrainingError, match=says):
            measured_responses(folder, 32_000)


def test_upper_edge_stays_in_its_range() -> None:
    generator = random()
    edges = [jittered_f_max(preset("cpm23"), 1000, generator) for _ in range(500)]
    assert 15_000 < min(edges) < 15_050
    assert 15_950 < max(edges) <= 16_000


def test_equal_seeds_give_equal_batches() -> None:
    settings = Augment(
        roll_samples=40,
        device_ir_p=0.5,
        gain_db=3,
        mixup_p=0.9,
        mixstyle_p=0.5,
        filter_db=6,
        freq_mask_bins=8,
        time_mask_frames=4,
    )
    samples, x = torch.randn(8, 400), torch.randn(8, 1, 20, 10)
    responses, eligible = torch.randn(3, 10), torch.ones(8).bool()

    def both(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        g = random(seed)
        waveforms, _ = augment_waveforms(samples, settings, responses, eligible, g)
        return waveforms, augment_spectrograms(x, settings, 5.0, g)

    first, again, other = both(5), both(5), both(6)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("field", ["device_ir_p", "mixstyle_p", "mixup_p"])
def test_probabilities_are_checked(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Augment(**{field: 1.5})
