"""Each augmentation against its definition, and all of them against their seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runtime.spec import preset
from training.augment import (
    augment_spectrograms,
    augment_waveforms,
    convolve_impulse_responses,
    freq_mixstyle,
    jittered_f_max,
    mask_frequencies,
    roll_time,
)
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


def test_upper_edge_stays_in_its_range() -> None:
    generator = random()
    edges = [jittered_f_max(preset("cpm23"), 1000, generator) for _ in range(500)]
    assert 15_000 < min(edges) < 15_050
    assert 15_950 < max(edges) <= 16_000


def test_equal_seeds_give_equal_batches() -> None:
    settings = Augment(roll_samples=40, device_ir_p=0.5, mixstyle_p=0.5, freq_mask_bins=8)
    samples, x = torch.randn(8, 400), torch.randn(8, 1, 20, 10)
    responses, eligible = torch.randn(3, 10), torch.ones(8).bool()

    def both(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        g = random(seed)
        return augment_waveforms(samples, settings, responses, eligible, g), augment_spectrograms(x, settings, g)

    first, again, other = both(5), both(5), both(6)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("field", ["device_ir_p", "mixstyle_p"])
def test_probabilities_are_checked(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Augment(**{field: 1.5})
