"""Log-mel in PyTorch, for whole batches on any device, from the tables of :mod:`tinyscene.runtime.log_mel`.

The mel bank is applied in blocks of adjacent bands, each to the bins it covers: dense matrix products with a fifth of
the multiplications. Refuses batches that are not float (batch, samples).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.runtime.log_mel import mel_bank, window
from tinyscene.runtime.spec import FrontendSpec

from ..errors import TrainingError

BANDS_PER_BLOCK = 32
CLIPS_AT_ONCE = 2  # spectra of more clips exceed the CPU's caches


@dataclass(frozen=True)
class MelBlock:
    """Bands ``[i * 32, ...)`` of the bank: weights for bins ``[first, first + weight.shape[0])``."""

    first: int
    weight: Tensor  # (bins, bands)


def mel_blocks(spec: FrontendSpec) -> list[MelBlock]:
    """The mel bank of ``spec`` in blocks of bands, each with the bins where it is not zero."""
    bank = torch.from_numpy(mel_bank(spec))
    blocks = []
    for rows in torch.split(bank, BANDS_PER_BLOCK):
        used = torch.nonzero(rows.any(dim=0)).flatten()
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
        blocks.append(MelBlock(first, rows[:, first : last + 1].T.contiguous()))
    return blocks


class TorchLogMel(nn.Module):
    """float32 (batch, samples) in [-1, 1] to float32 (batch, 1, n_mels, n_frames).

    Raises TrainingError for other shapes and for audio shorter than ``spec.min_samples``.
    """

    window: Tensor

    def __init__(self, spec: FrontendSpec) -> None:
        super().__init__()
        if spec.arithmetic != "float":
            raise TrainingError(f"front end '{spec.name}'", "arithmetic", expected="float", got=spec.arithmetic)
        self.spec = spec
        self.register_buffer("window", torch.from_numpy(window(spec)), persistent=False)
        self._blocks = mel_blocks(spec)

    def forward(self, samples: Tensor, f_max_hz: float | None = None) -> Tensor:
        """``f_max_hz`` moves the upper edge of the mel bank for this batch (training augmentation)."""
        spec = self.spec
        if samples.ndim != 2 or samples.shape[1] < spec.min_samples:
            raise TrainingError(
                "log-mel input",
                "not a batch of waveforms",
                expected=f"(batch, at least {spec.min_samples} samples)",
                got=tuple(samples.shape),
            )
        blocks = self._blocks_at(f_max_hz, samples.device)
        at_once = CLIPS_AT_ONCE if samples.device.type == "cpu" else max(1, len(samples))
        return torch.cat([self._transform(part, blocks) for part in torch.split(samples, at_once)])

    def _transform(self, samples: Tensor, blocks: list[MelBlock]) -> Tensor:
        spec = self.spec
        if spec.pre_emphasis:
            samples = samples[:, 1:] - spec.pre_emphasis * samples[:, :-1]
        half = spec.win_length // 2
        padded = F.pad(samples[:, None], (half, half), mode="reflect")[:, 0]
        frames = padded.unfold(1, spec.win_length, spec.hop_length) * self.window  # (batch, frames, win_length)
        spectrum = torch.fft.rfft(frames, n=spec.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()  # far faster than a sum over a dimension of size two
        mel = torch.cat([power[..., b.first : b.first + len(b.weight)] @ b.weight for b in blocks], dim=-1)
        log_mel = (torch.log(mel + spec.log_offset) - spec.norm_mean) / spec.norm_std
        return log_mel.transpose(1, 2)[:, None].contiguous()

    def _blocks_at(self, f_max_hz: float | None, device: torch.device) -> list[MelBlock]:
        if f_max_hz is not None and f_max_hz != self.spec.f_max_hz:
            return _on(mel_blocks(replace(self.spec, f_max_hz=f_max_hz)), device)
        self._blocks = _on(self._blocks, device)
        return self._blocks


def _on(blocks: list[MelBlock], device: torch.device) -> list[MelBlock]:
    return [b if b.weight.device == device else MelBlock(b.first, b.weight.to(device)) for b in blocks]
