"""Published checkpoints for the tests, made from networks of ours: wrapped names, with torchaudio's tables."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping

import torch
from torch import Tensor

from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import MODELS

State = dict[str, Tensor]


def weights(name: str = "cpm23-8", seed: int = 0) -> State:
    """A network's tensors, with statistics of BatchNorm that are not the initial ones."""
    torch.manual_seed(seed)
    state: State = build_model(MODELS[name]).state_dict()
    return {k: torch.rand_like(t) + 0.5 if t.is_floating_point() and t.ndim == 1 else t for k, t in state.items()}


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def torchaudio_bank(rate_hz: int, n_fft: int, n_mels: int, low_hz: float, high_hz: float) -> Tensor:
    """``mel_scale.fb`` (bins, bands) of torchaudio's MelSpectrogram, in float32 as it computes it: HTK, no norm."""
    bins_hz = torch.linspace(0, rate_hz // 2, n_fft // 2 + 1)
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (low_hz, high_hz))
    corners = 700.0 * (10.0 ** (torch.linspace(low, high, n_mels + 2) / 2595.0) - 1.0)
    widths = corners[1:] - corners[:-1]
    slopes = corners[None] - bins_hz[:, None]
    return torch.clamp(torch.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]), min=0.0)


def resampling_kernel(source_hz: int, to_hz: int) -> Tensor:
    """``kernel`` of torchaudio's Resample, without its values: a Hann-windowed sinc of width 6, roll-off 0.99."""
    common = math.gcd(source_hz, to_hz)
    old, new = source_hz // common, to_hz // common
    width = math.ceil(6 * old / (min(old, new) * 0.99))
    return torch.zeros(new, 1, 2 * width + old)


def baseline_tables() -> State:
    """The front end that the checkpoints of the DCASE 2024/25 baseline hold."""
    return {
        "mel.0.kernel": resampling_kernel(44_100, 32_000),
        "mel.1.spectrogram.window": torch.hann_window(3072),
        "mel.1.mel_scale.fb": torchaudio_bank(32_000, 4096, 256, 0, 16_000),
    }


_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.bool: "BOOL",
}


def safetensors(state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file, written from the format's description."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, tensor in state.items():
        content = bytes(tensor.contiguous().flatten().view(torch.uint8).numpy()) if tensor.numel() else b""
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
