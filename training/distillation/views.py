"""Views: what the training clips sound like in one epoch, drawn for all of them at once.

A view says of every clip how far it is rolled in time, through which microphone it is heard, at what level, and with
which other clip it is mixed. It follows from a seed, its number and the clips alone, so that a teacher can be asked
what it hears in a view and the student be told that of the very same sound. Without such answers every epoch is a new
view. Source: Beyer et al., "Knowledge distillation: a good teacher is patient and consistent" (2022).
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

from tinyscene.runtime.arrays import F32

from ..data.microphones import impulse_responses, measured_responses
from ..data.tau22 import Clips
from ..fit.augment import PARTNER, augment_waveforms
from ..recipe import Augment

MICROPHONES = 40  # modelled ones, where no folder of measured ones is given


@dataclass(frozen=True)
class Views:
    """The views of a run: ``count`` of them heard in turn, or a new one for each epoch if 0."""

    augment: Augment
    seed: int
    count: int = 0

    def number(self, epoch: int) -> int:
        """Which view is heard in ``epoch``."""
        return epoch % self.count if self.count else epoch

    def digest(self, names: Sequence[str]) -> str:
        """SHA-256 of all that the views of these clips, in this order, follow from."""
        fields = ("roll_samples", "device_ir_p", "device_irs", "gain_db", "mixup_p", "mixup_alpha")
        said = [f"{field}={getattr(self.augment, field)}" for field in fields]
        return hashlib.sha256(
            "\n".join([*said, f"seed={self.seed}", f"count={self.count}", *names]).encode()
        ).hexdigest()

    def responses(self, sample_rate_hz: int) -> Tensor | None:
        """The microphones clips may be heard through, float32 (count, taps); None if there is to be none."""
        if not self.augment.device_ir_p:
            return None
        folder = self.augment.device_irs
        rows = measured_responses(folder, sample_rate_hz) if folder else impulse_responses(MICROPHONES, sample_rate_hz)
        return torch.from_numpy(rows)

    def draw(self, number: int, reference: npt.NDArray[np.bool_], microphones: int) -> dict[str, npt.NDArray[Any]]:
        """Row i is of clip i: ``shift`` int64 (n,) in samples, ``microphone`` int64 (n,), -1 for none, ``gain_db``
        float32 (n,), ``share`` float32 (n,) of the clip itself and ``partner`` int64 (n,), which has the rest.

        Steps that are switched off are left out, and none moves the lots of another. Only ``reference`` clips, bool
        (n,), are heard through another microphone. Shares are max(b, 1 - b) for b of Beta(alpha, alpha), so that a clip
        outweighs its partner; source: Zhang et al., "mixup: beyond empirical risk minimization" (2018).
        """
        settings, n = self.augment, len(reference)
        drawn: dict[str, npt.NDArray[Any]] = {}
        if settings.roll_samples:
            drawn["shift"] = self._lots(number, "roll").integers(-settings.roll_samples, settings.roll_samples + 1, n)
        if settings.device_ir_p and microphones:
            lots = self._lots(number, "device")
            chosen = (lots.random(n) < settings.device_ir_p) & reference
            drawn["microphone"] = np.where(chosen, lots.integers(microphones, size=n), -1)
        if settings.gain_db:
            drawn["gain_db"] = self._lots(number, "gain").uniform(-settings.gain_db, settings.gain_db, n)
            drawn["gain_db"] = drawn["gain_db"].astype(np.float32)
        if settings.mixup_p:
            lots = self._lots(number, "mixup")
            mixed = lots.random(n) < settings.mixup_p
            share = lots.beta(settings.mixup_alpha, settings.mixup_alpha, n)
            drawn["share"] = np.where(mixed, np.maximum(share, 1 - share), 1.0).astype(np.float32)
            drawn["partner"] = lots.permutation(n)
        return drawn

    def _lots(self, number: int, step: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, zlib.crc32(step.encode())])


class View:
    """One view of ``clips``: rows of it are float32 (n, samples) in [-1, 1] before clipping, as networks hear it."""

    def __init__(self, clips: Clips, views: Views, number: int, responses: Tensor | None) -> None:
        self.clips, self.responses = clips, responses
        reference = np.array([r.device == "a" for r in clips.records], dtype=np.bool_)
        self.drawn = views.draw(number, reference, 0 if responses is None else len(responses))

    @property
    def shape(self) -> tuple[int, int]:
        return self.clips.waveforms.shape

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, which: Any) -> F32:
        heard: F32 = augment_waveforms(self.batch(np.arange(len(self))[which]), self.responses).numpy()
        return heard

    def batch(self, rows: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """Waveforms int16 (batch, samples), labels ``target`` int64 (batch,) and lots of these clips, and, with
        ``partner_`` before the name, of those mixed in."""
        batch = self._alone(rows)
        if "partner" in self.drawn:
            batch["share"] = torch.from_numpy(self.drawn["share"][rows])
            batch |= {PARTNER + name: values for name, values in self._alone(self.drawn["partner"][rows]).items()}
        return batch

    def _alone(self, rows: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        batch = {
            "waveform": torch.from_numpy(np.array(self.clips.waveforms[rows])),
            "target": torch.from_numpy(self.clips.targets[rows]),
        }
        lots = (name for name in self.drawn if name not in ("share", "partner"))
        return batch | {name: torch.from_numpy(self.drawn[name][rows]) for name in lots}
