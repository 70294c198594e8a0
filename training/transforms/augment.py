"""Augmentation of training clips, a batch at a time.

Waveform steps take float32 (batch, samples) and the draws of :mod:`tinyscene.training.transforms.views`; spectrogram
steps take float32 (batch, 1, n_mels, n_frames) and a seeded generator. Only the mixing of two clips affects the labels:
the training step mixes their losses in the same proportion.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tinyscene.runtime.arrays import F64, INT16_FULL_SCALE
from tinyscene.runtime.spec import FrontendSpec

from ..recipe import Augment

PARTNER = "partner_"  # prefix of the batch keys of the clip that is mixed in
FILTER_BANDS = (3, 6)  # corners of a random filter, both ends included


def change_gain(samples: Tensor, decibels: Tensor) -> Tensor:
    """Apply a gain per clip; ``decibels`` is (batch,)."""
    return samples * (10 ** (decibels[:, None] / 20))


def roll_time(samples: Tensor, shift: Tensor) -> Tensor:
    """Rotate each clip in time by its own number of samples, int64 (batch,)."""
    length = samples.shape[1]
    index = (torch.arange(length, device=samples.device)[None] - shift[:, None]) % length
    return samples.gather(1, index)


def convolve_impulse_responses(samples: Tensor, responses: Tensor, which: Tensor) -> Tensor:
    """Convolve each clip with the row ``which``, int64 (batch,), of ``responses``; -1 leaves it unchanged.

    ``responses`` is float32 (count, taps); the result keeps the length of the clip and the causal part only.
    """
    chosen = which >= 0
    if not bool(chosen.any()):
        return samples
    length = samples.shape[1]
    size = 1 << (length + responses.shape[1] - 2).bit_length()
    spectrum = torch.fft.rfft(samples[chosen], size) * torch.fft.rfft(responses[which[chosen]], size)
    result = samples.clone()
    result[chosen] = torch.fft.irfft(spectrum, size)[:, :length]
    return result


def freq_mixstyle(x: Tensor, probability: float, alpha: float, generator: torch.Generator) -> Tensor:
    """Freq-MixStyle: mix mean and deviation per frequency bin with those of another clip; one draw per batch decides.

    Statistics are over (channel, time); the mixing weight is Beta(alpha, alpha) per clip. Source: Kim et al.,
    "Domain generalization on efficient acoustic scene classification using residual normalization" (DCASE 2021).
    """
    if torch.rand(1, generator=generator).item() >= probability:
        return x
    batch = len(x)
    mean = x.mean(dim=(1, 3), keepdim=True)
    deviation = (x.var(dim=(1, 3), keepdim=True) + 1e-6).sqrt()
    other = torch.randperm(batch, generator=generator).to(x.device)
    weight = _beta(alpha, batch, generator).to(x.device, x.dtype)[:, None, None, None]
    mixed_mean = weight * mean + (1 - weight) * mean[other]
    mixed_deviation = weight * deviation + (1 - weight) * deviation[other]
    return (x - mean) / deviation * mixed_deviation + mixed_mean


def mask_frequencies(x: Tensor, max_bins: int, generator: torch.Generator) -> Tensor:
    """Replace a random run of up to ``max_bins`` mel bands of each clip by the clip's mean."""
    batch, _, n_mels, _ = x.shape
    width = torch.randint(0, min(max_bins, n_mels) + 1, (batch, 1), generator=generator)
    first = (torch.rand(batch, 1, generator=generator) * (n_mels - width + 1)).long()
    band = torch.arange(n_mels)[None]
    masked = ((band >= first) & (band < first + width)).to(x.device)[:, None, :, None]
    return torch.where(masked, x.mean(dim=(1, 2, 3), keepdim=True), x)


def mask_frames(x: Tensor, max_frames: int, generator: torch.Generator) -> Tensor:
    """Replace a random run of up to ``max_frames`` frames of each clip by the clip's mean."""
    return mask_frequencies(x.transpose(2, 3), max_frames, generator).transpose(2, 3)


def filter_bands(x: Tensor, max_db: float, norm_std: float, generator: torch.Generator) -> Tensor:
    """FilterAugment, linear: a random gain per clip, piecewise linear over frequency, in decibels at random corners.

    The gain at each corner is uniform in [-max_db, max_db]; ``norm_std`` is the front end's divisor of ln(power).
    Source: Nam et al., "FilterAugment: an acoustic environmental data augmentation method" (2022).
    """
    batch, _, n_mels, _ = x.shape
    corners = int(torch.randint(FILTER_BANDS[0], FILTER_BANDS[1] + 1, (1,), generator=generator))
    inner = torch.rand(batch, corners - 2, generator=generator).sort(dim=1).values
    at = torch.cat([torch.zeros(batch, 1), inner, torch.ones(batch, 1)], dim=1) * (n_mels - 1)
    decibels = (2 * torch.rand(batch, corners, generator=generator) - 1) * max_db
    band = torch.arange(n_mels, dtype=torch.float32).expand(batch, -1).contiguous()
    right = torch.searchsorted(at, band).clamp(1, corners - 1)
    left_at, right_at = at.gather(1, right - 1), at.gather(1, right)
    left_db, right_db = decibels.gather(1, right - 1), decibels.gather(1, right)
    share = (band - left_at) / (right_at - left_at).clamp(min=1e-6)
    gain = (left_db + share * (right_db - left_db)) * (np.log(10) / 10 / norm_std)
    filtered: Tensor = x + gain.to(x.device)[:, None, :, None]
    return filtered


def jittered_f_max(spec: FrontendSpec, jitter_hz: int, generator: torch.Generator) -> float:
    """Upper edge of the mel bank for one batch: f_max + jitter/2 - randint(jitter), at most half the sample rate."""
    edge = spec.f_max_hz + jitter_hz / 2 - int(torch.randint(jitter_hz, (1,), generator=generator))
    return min(edge, spec.sample_rate_hz / 2)


def augment_waveforms(batch: dict[str, Tensor], responses: Tensor | None) -> Tensor:
    """Apply the draws of a view: roll, microphone, gain, mixing. Returns float32 (batch, samples).

    ``batch`` comes from :meth:`tinyscene.training.transforms.views.View.batch`; steps without draws are skipped.
    """
    samples = _unmixed(batch, "", responses)
    if "share" not in batch:
        return samples
    share = batch["share"][:, None]
    return share * samples + (1 - share) * _unmixed(batch, PARTNER, responses)


def _unmixed(batch: dict[str, Tensor], prefix: str, responses: Tensor | None) -> Tensor:
    samples = batch[prefix + "waveform"].float() / INT16_FULL_SCALE
    if prefix + "shift" in batch:
        samples = roll_time(samples, batch[prefix + "shift"])
    if prefix + "microphone" in batch and responses is not None:
        samples = convolve_impulse_responses(samples, responses, batch[prefix + "microphone"])
    if prefix + "gain_db" in batch:
        samples = change_gain(samples, batch[prefix + "gain_db"])
    return samples


def augment_spectrograms(x: Tensor, settings: Augment, norm_std: float, generator: torch.Generator) -> Tensor:
    """Apply Freq-MixStyle, the random filter, then the masks over frequency and time."""
    if settings.mixstyle_p:
        x = freq_mixstyle(x, settings.mixstyle_p, settings.mixstyle_alpha, generator)
    if settings.filter_db:
        x = filter_bands(x, settings.filter_db, norm_std, generator)
    if settings.freq_mask_bins:
        x = mask_frequencies(x, settings.freq_mask_bins, generator)
    if settings.time_mask_frames:
        x = mask_frames(x, settings.time_mask_frames, generator)
    return x


def _beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Beta(alpha, alpha) samples; torch's own sampler takes no generator."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    samples: F64 = np.random.default_rng(seed).beta(alpha, alpha, size=count)
    return torch.from_numpy(samples)
