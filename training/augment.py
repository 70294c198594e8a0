"""What training clips go through, in whole batches, each step with its own definition and a seeded generator.

Waveform steps take float32 (batch, samples), spectrogram steps float32 (batch, 1, n_mels, n_frames). Nothing here
touches labels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from runtime.spec import FrontendSpec

from .recipe import Augment


def roll_time(samples: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Each clip rotated in time by its own whole number of samples in [-max_shift, max_shift]."""
    batch, length = samples.shape
    shift = torch.randint(-max_shift, max_shift + 1, (batch, 1), generator=generator).to(samples.device)
    index = (torch.arange(length, device=samples.device)[None] - shift) % length
    return samples.gather(1, index)


def convolve_impulse_responses(
    samples: Tensor, responses: Tensor, eligible: Tensor, probability: float, generator: torch.Generator
) -> Tensor:
    """Clips that are ``eligible`` (bool, (batch,)) pass, with ``probability``, through a random row of ``responses``.

    ``responses`` is float32 (count, taps); the result keeps the length of the clip and the causal part only.
    """
    batch, length = samples.shape
    chosen = (torch.rand(batch, generator=generator) < probability).to(samples.device) & eligible
    which = torch.randint(len(responses), (batch,), generator=generator).to(samples.device)
    if not bool(chosen.any()):
        return samples
    size = length + responses.shape[1] - 1
    size = 1 << (size - 1).bit_length()
    spectrum = torch.fft.rfft(samples[chosen], size) * torch.fft.rfft(responses[which[chosen]], size)
    result = samples.clone()
    result[chosen] = torch.fft.irfft(spectrum, size)[:, :length]
    return result


def freq_mixstyle(x: Tensor, probability: float, alpha: float, generator: torch.Generator) -> Tensor:
    """Freq-MixStyle: one coin per batch; mean and deviation per frequency bin mixed with those of another clip.

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
    """In each clip a random run of up to ``max_bins`` mel bands is replaced by the clip's mean."""
    batch, _, n_mels, _ = x.shape
    width = torch.randint(0, min(max_bins, n_mels) + 1, (batch, 1), generator=generator)
    first = (torch.rand(batch, 1, generator=generator) * (n_mels - width + 1)).long()
    band = torch.arange(n_mels)[None]
    masked = ((band >= first) & (band < first + width)).to(x.device)[:, None, :, None]
    return torch.where(masked, x.mean(dim=(1, 2, 3), keepdim=True), x)


def jittered_f_max(spec: FrontendSpec, jitter_hz: int, generator: torch.Generator) -> float:
    """Upper edge of the mel bank for one batch: f_max + jitter/2 - randint(jitter), at most half the sample rate."""
    edge = spec.f_max_hz + jitter_hz / 2 - int(torch.randint(jitter_hz, (1,), generator=generator))
    return min(edge, spec.sample_rate_hz / 2)


def augment_waveforms(
    samples: Tensor, settings: Augment, responses: Tensor | None, eligible: Tensor, generator: torch.Generator
) -> Tensor:
    """Roll, then device impulse responses on the eligible clips."""
    if settings.roll_samples:
        samples = roll_time(samples, settings.roll_samples, generator)
    if settings.device_ir_p and responses is not None:
        samples = convolve_impulse_responses(samples, responses, eligible, settings.device_ir_p, generator)
    return samples


def augment_spectrograms(x: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Freq-MixStyle, then the frequency mask."""
    if settings.mixstyle_p:
        x = freq_mixstyle(x, settings.mixstyle_p, settings.mixstyle_alpha, generator)
    if settings.freq_mask_bins:
        x = mask_frequencies(x, settings.freq_mask_bins, generator)
    return x


def _beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Beta(alpha, alpha) samples; torch's own sampler takes no generator."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    samples: npt.NDArray[np.float64] = np.random.default_rng(seed).beta(alpha, alpha, size=count)
    return torch.from_numpy(samples)
