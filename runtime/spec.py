"""Frozen descriptions that travel with a model: the log-mel front end and the size budget.

Both are plain records with a canonical JSON form, so that their digest names them for ever.
Unknown presets, unknown fields and impossible values are refused here, before any table is built.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

from .errors import RuntimeFailure
from .records import read_record

MelScale = Literal["kaldi", "htk"]
Window = Literal["hann_symmetric", "hann_periodic"]


@dataclass(frozen=True)
class FrontendSpec:
    """How audio becomes a log-mel image of shape ``(n_mels, n_frames)``.

    Frames are centred with reflect padding; the window of ``win_length`` samples sits in the
    middle of ``n_fft``; the spectrum is a power spectrum. The result is
    ``(ln(mel + log_offset) - norm_mean) / norm_std``.

    Sources: the published 2023 CP-Mobile and the DCASE 2024/25 baseline front ends.
    """

    name: str
    sample_rate_hz: int
    n_fft: int
    win_length: int
    hop_length: int
    n_mels: int
    mel_scale: MelScale
    f_min_hz: float
    f_max_hz: float
    pre_emphasis: float  # y[t] = x[t+1] - pre_emphasis * x[t]; 0 leaves the signal as it is
    window: Window
    log_offset: float
    norm_mean: float
    norm_std: float
    clip_samples: int  # the length of audio one network input covers

    def __post_init__(self) -> None:
        for name in ("sample_rate_hz", "n_fft", "win_length", "hop_length", "n_mels", "clip_samples"):
            if getattr(self, name) <= 0:
                self._refuse(name, "a positive number")
        if self.win_length > self.n_fft:
            self._refuse("win_length", f"at most n_fft = {self.n_fft}")
        if not 0 <= self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2:
            self._refuse("f_max_hz", f"above f_min_hz, at most {self.sample_rate_hz / 2:g} Hz")
        if self.mel_scale not in ("kaldi", "htk"):
            self._refuse("mel_scale", "'kaldi' or 'htk'")
        if self.window not in ("hann_symmetric", "hann_periodic"):
            self._refuse("window", "'hann_symmetric' or 'hann_periodic'")
        if self.log_offset <= 0 or self.norm_std <= 0:
            self._refuse("log_offset", "log_offset and norm_std above 0")

    def _refuse(self, field_name: str, expected: str) -> None:
        raise RuntimeFailure(
            f"front end '{self.name}', {field_name}", "not possible", expected=expected, got=getattr(self, field_name)
        )

    @property
    def framed_samples(self) -> int:
        """Samples of one clip left after pre-emphasis, which costs one."""
        return self.clip_samples - (1 if self.pre_emphasis else 0)

    @property
    def n_frames(self) -> int:
        """Frames of one clip: centred frames at 0, hop, 2 hop, ..."""
        return 1 + self.framed_samples // self.hop_length

    @property
    def min_samples(self) -> int:
        """Shortest signal that reflect padding can extend by half a window."""
        return self.win_length // 2 + 1 + (1 if self.pre_emphasis else 0)

    @property
    def look_ahead_samples(self) -> int:
        """Samples that a frame needs from its centre on, and the one that pre-emphasis costs."""
        return self.win_length - self.win_length // 2 + (1 if self.pre_emphasis else 0)

    @property
    def floor(self) -> float:
        """The value of digital silence, the smallest there is."""
        return (math.log(self.log_offset) - self.norm_mean) / self.norm_std

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: object) -> FrontendSpec:
        """The front end of a parsed JSON object; raises RuntimeFailure naming the field that is wrong."""
        return read_record(cls, record, "front end record", "rebuild the bundle with 'tinyscene export'")

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
    """The front end of that name; raises RuntimeFailure naming the known ones."""
    if name not in PRESETS:
        raise RuntimeFailure(
            f"front end '{name}'", "unknown preset", expected=" | ".join(PRESETS), next_step="pick one of these"
        )
    return PRESETS[name]


@dataclass(frozen=True)
class Budget:
    """The limits a model must keep: parameter bytes (kB = 1000 B) and multiply-accumulates per clip."""

    max_bytes: int = 128_000
    max_macs: int = 30_000_000


DCASE_BUDGET = Budget()
