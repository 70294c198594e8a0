"""Views: the random draws of waveform augmentation for all training clips in one epoch.

A view holds for every clip its shift in time, its microphone, its gain, and the clip it is mixed with. It depends on a
seed, its number and the clips only, so that teachers can be evaluated on the same augmented waveforms that the student
is trained on. Without such soft targets every epoch is a new view. Source: Beyer et al., "Knowledge distillation: a
good teacher is patient and consistent" (2022).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tinyscene.runtime.arrays import F32, I64, Bools

from ..data.microphones import impulse_responses, measured_responses
from ..data.tau22 import Clips, Index
from ..recipe import Augment
from .augment import PARTNER, augment_waveforms

MICROPHONES = 40  # simulated ones, where no folder of measured responses is given


@dataclass(frozen=True)
class Views:
    """The views of a run: ``count`` of them used cyclically, or a new one for each epoch if 0."""

    augment: Augment
    seed: int
    count: int = 0

    def number(self, epoch: int) -> int:
        """Number of the view used in ``epoch``."""
        return epoch % self.count if self.count else epoch

    def digest(self, names: Sequence[str]) -> str:
        """SHA-256 of everything that the views of these clips, in this order, depend on."""
        names_of_fields = ("roll_samples", "device_ir_p", "device_irs", "gain_db", "mixup_p", "mixup_alpha")
        fields = [f"{field}={getattr(self.augment, field)}" for field in names_of_fields]
        return hashlib.sha256(
            "\n".join([*fields, f"seed={self.seed}", f"count={self.count}", *names]).encode()
        ).hexdigest()

    def responses(self, sample_rate_hz: int) -> Tensor | None:
        """Impulse responses of the microphones, float32 (count, taps); None if microphones are switched off."""
        if not self.augment.device_ir_p:
            return None
        folder = self.augment.device_irs
        rows = measured_responses(folder, sample_rate_hz) if folder else impulse_responses(MICROPHONES, sample_rate_hz)
        return torch.from_numpy(rows)

    def draw(self, number: int, reference: Bools, microphones: int) -> dict[str, npt.NDArray[Any]]:
        """The draws of view ``number``; row i belongs to clip i.

        Keys: ``shift`` int64 (n,) in samples, ``microphone`` int64 (n,), -1 for none, ``gain_db`` float32 (n,),
        ``share`` float32 (n,) of the clip itself, and ``partner`` int64 (n,), the clip with the remaining share.

        Steps that are switched off are left out, and no step changes the draws of another. Only ``reference`` clips,
        bool (n,), get another microphone. Shares are max(b, 1 - b) for b of Beta(alpha, alpha), so that a clip
        outweighs its partner; source: Zhang et al., "mixup: beyond empirical risk minimization" (2018).
        """
        settings, n = self.augment, len(reference)
        draws: dict[str, npt.NDArray[Any]] = {}
        if settings.roll_samples:
            generator = self._generator(number, "roll")
            draws["shift"] = generator.integers(-settings.roll_samples, settings.roll_samples + 1, n)
        if settings.device_ir_p and microphones:
            generator = self._generator(number, "device")
            chosen = (generator.random(n) < settings.device_ir_p) & reference
            draws["microphone"] = np.where(chosen, generator.integers(microphones, size=n), -1)
        if settings.gain_db:
            gains = self._generator(number, "gain").uniform(-settings.gain_db, settings.gain_db, n)
            draws["gain_db"] = gains.astype(np.float32)
        if settings.mixup_p:
            generator = self._generator(number, "mixup")
            mixed = generator.random(n) < settings.mixup_p
            share = generator.beta(settings.mixup_alpha, settings.mixup_alpha, n)
            draws["share"] = np.where(mixed, np.maximum(share, 1 - share), 1.0).astype(np.float32)
            draws["partner"] = generator.permutation(n)
        return draws

    def _generator(self, number: int, step: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, zlib.crc32(step.encode())])


class View:
    """One view of ``clips``: its rows are augmented waveforms, float32 (n, samples), in [-1, 1] before clipping."""

    def __init__(self, clips: Clips, views: Views, number: int, responses: Tensor | None) -> None:
        self.clips, self.responses = clips, responses
        reference = np.array([r.device == "a" for r in clips.records], dtype=np.bool_)
        self.draws = views.draw(number, reference, 0 if responses is None else len(responses))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.clips.waveforms.shape

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, which: Index) -> F32:
        waveforms: F32 = augment_waveforms(self.batch(np.arange(len(self))[which]), self.responses).numpy()
        return waveforms

    def batch(self, rows: I64) -> dict[str, Tensor]:
        """Waveforms int16 (batch, samples), labels ``target`` int64 (batch,) and draws of these clips, and, with the
        prefix ``partner_``, those of the clips mixed in."""
        batch = self._unmixed(rows)
        if "partner" in self.draws:
            batch["share"] = torch.from_numpy(self.draws["share"][rows])
            batch |= {PARTNER + name: values for name, values in self._unmixed(self.draws["partner"][rows]).items()}
        return batch

    def _unmixed(self, rows: I64) -> dict[str, Tensor]:
        batch = {
            "waveform": torch.from_numpy(np.array(self.clips.waveforms[rows])),
            "target": torch.from_numpy(self.clips.targets[rows]),
        }
        names = (name for name in self.draws if name not in ("share", "partner"))
        return batch | {name: torch.from_numpy(self.draws[name][rows]) for name in names}
