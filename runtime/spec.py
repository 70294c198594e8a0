"""Frozen records that are stored with a model: the log-mel front end and the size budget.

The canonical JSON form of a front end has a digest that identifies it.
Refuses unknown presets, unknown fields and values out of range, before any table is built: the largest mel bank has
512 x 8193 weights, the largest log-mel 4 Mi values, and every number is a normal float32.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal

from .errors import RuntimeFailure
from .limits import MAX_RATE_HZ, MIN_RATE_HZ
from .ops import LARGEST_TENSOR_ELEMENTS
from .records import Range, check_record, name_text, read_record

LARGEST_FFT = 2**14
MOST_FRAMES = 2**13
MelScale = Literal["kaldi", "htk"]
Window = Literal["hann_symmetric", "hann_periodic"]
Arithmetic = Literal["float", "integer"]


@dataclass(frozen=True)
class FrontendSpec:
    """Parameters of the log-mel of shape ``(n_mels, n_frames)`` of one clip of audio.

    Frames are centred with reflect padding; the window of ``win_length`` samples sits in the
    middle of ``n_fft``; the spectrum is a power spectrum. The result is
    ``(ln(mel + log_offset) - norm_mean) / norm_std``.

    In ``integer`` arithmetic it is computed from int16 samples, with the same bits on every machine.

    Sources: the published 2023 CP-Mobile and the DCASE 2024/25 baseline front ends.
    """

    name: Annotated[str, name_text(64)]
    sample_rate_hz: Annotated[int, Range(MIN_RATE_HZ, MAX_RATE_HZ)]
    n_fft: Annotated[int, Range(16, LARGEST_FFT)]
    win_length: Annotated[int, Range(4, LARGEST_FFT)]
    hop_length: Annotated[int, Range(1, 2**16)]
    n_mels: Annotated[int, Range(1, 512)]
    mel_scale: MelScale
    f_min_hz: Annotated[float, Range(0, 384_000)]
    f_max_hz: Annotated[float, Range(1, 384_000)]
    pre_emphasis: Annotated[float, Range(0, 1)]  # y[t] = x[t+1] - pre_emphasis * x[t]; 0 turns it off
    window: Window
    log_offset: Annotated[float, Range(1e-30, 1e6)]
    norm_mean: Annotated[float, Range(-1e6, 1e6)]
    norm_std: Annotated[float, Range(1e-6, 1e6)]
    clip_samples: Annotated[int, Range(4, 2**22)]  # audio of one network input, in samples
    arithmetic: Arithmetic = "float"  # in which a deployed model computes it; training always does in float

    def __post_init__(self) -> None:
        check_record(self, f"front end {str(self.name)[:64]!r}")
        if self.win_length > self.n_fft or self.win_length % 2:  # reflection at the end is short of an odd one
            self._refuse("win_length", f"an even number of at most n_fft = {self.n_fft}")
        if not self.f_min_hz + 1 <= self.f_max_hz <= self.sample_rate_hz / 2:
            self._refuse("f_max_hz", f"at least 1 Hz above f_min_hz, at most {self.sample_rate_hz / 2:g} Hz")
        if self.clip_samples < self.min_samples:
            self._refuse("clip_samples", f"at least {self.min_samples}, half a window")
        if self.arithmetic == "integer" and self.n_fft & (self.n_fft - 1):
            self._refuse("n_fft", "a power of two for integer arithmetic")
        most_frames = min(MOST_FRAMES, LARGEST_TENSOR_ELEMENTS // self.n_mels)
        if self.n_frames > most_frames:
            self._refuse("hop_length", f"at most {most_frames:,} frames of one clip")

    def _refuse(self, field_name: str, expected: str) -> None:
        raise RuntimeFailure(
            f"front end '{self.name}', {field_name}", "invalid value", expected=expected, got=getattr(self, field_name)
        )

    @property
    def framed_samples(self) -> int:
        """Samples of one clip after pre-emphasis, which is one sample shorter."""
        return self.clip_samples - (1 if self.pre_emphasis else 0)

    @property
    def n_frames(self) -> int:
        """Frames of one clip, centred at 0, hop, 2 hop, ..."""
        return 1 + self.framed_samples // self.hop_length

    @property
    def min_samples(self) -> int:
        """Shortest signal that reflect padding can extend by half a window."""
        return self.win_length // 2 + 1 + (1 if self.pre_emphasis else 0)

    @property
    def look_ahead_samples(self) -> int:
        """Samples that a frame needs after its centre, including one for pre-emphasis."""
        return self.win_length - self.win_length // 2 + (1 if self.pre_emphasis else 0)

    @property
    def window_periods(self) -> int:
        """Samples of one period of the window: sample ``i`` equals sample ``window_periods - i``."""
        return self.win_length - (1 if self.window == "hann_symmetric" else 0)

    @property
    def floor(self) -> float:
        """The log-mel value of digital silence, the smallest possible one."""
        return (math.log(self.log_offset) - self.norm_mean) / self.norm_std

    def makes(self, shape: Sequence[int]) -> bool:
        """Whether the log-mel is an input of this shape, batch included; axes of one element do not count."""
        return [n for n in shape if n != 1] == [n for n in (self.n_mels, self.n_frames) if n != 1]

    def trained(self) -> FrontendSpec:
        """The same front end in the arithmetic of training."""
        return replace(self, arithmetic="float")

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: object) -> FrontendSpec:
        """The front end of a parsed JSON object; raises RuntimeFailure naming the field that is wrong."""
        return read_record(cls, record, "front end record")

    def digest(self) -> str:
        """SHA-256 over the canonical JSON form, as hex."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


_CPM23 = FrontendSpec(
    name="cpm23",
    sample_rate_hz=32_000,
    n_fft=4096,
    win_length=3072,
    hop_length=500,
    n_mels=256,
    mel_scale="kaldi",
    f_min_hz=0.0,
    f_max_hz=15_500.0,
    pre_emphasis=0.97,
    window="hann_symmetric",
    log_offset=1e-5,
    norm_mean=-4.5,
    norm_std=5.0,
    clip_samples=32_000,
)

PRESETS: dict[str, FrontendSpec] = {
    "cpm23": _CPM23,
    "dcase25": replace(
        _CPM23,
        name="dcase25",
        mel_scale="htk",
        f_max_hz=16_000.0,
        pre_emphasis=0.0,
        window="hann_periodic",
        norm_mean=0.0,
        norm_std=1.0,
    ),
    "cpresnet": replace(_CPM23, name="cpresnet", hop_length=750),
    "passt": replace(_CPM23, name="passt", n_fft=1024, win_length=800, hop_length=320, n_mels=128),
}


def preset(name: str) -> FrontendSpec:
    """The front end of that name; raises RuntimeFailure with the names of all presets."""
    if name not in PRESETS:
        raise RuntimeFailure(
            f"front end '{name}'", "unknown preset", expected=" | ".join(PRESETS), next_step="choose one of these"
        )
    return PRESETS[name]


@dataclass(frozen=True)
class Budget:
    """Limits for a model: parameter bytes (kB = 1000 B) and multiply-accumulates per clip."""

    max_bytes: int = 128_000
    max_macs: int = 30_000_000


DCASE_BUDGET = Budget()
