"""How fast a network is trained, in clips a second: on the bar while it is, among the figures of every epoch, and as
the median over epochs at the end. Reading clips and the step are in it; validation and checkpoints are not.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from tinyscene.runtime.terminal import notes

from .processes import is_first, world_size

FIGURE = "clips_per_second"


class Speed(Callback):
    """Measures the epochs of one process; all processes together are as many times as fast."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self._begun_s = self._ended_s = 0.0
        self._clips = 0

    @property
    def clips_per_second(self) -> float | None:
        """The median over the epochs, None before the first has ended."""
        return statistics.median(self.epochs) if self.epochs else None

    def keep(self, record: Path, *, said: bool) -> None:
        """Put the figure into the JSON file ``record``, and say it if it is to be; of a run that went on, the later
        part counts."""
        if self.clips_per_second is None or not is_first():
            return
        whole = {**json.loads(record.read_text()), FIGURE: self.clips_per_second}
        record.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
        if said:
            notes(str(record.parent), [f"trained at {self.clips_per_second:,.0f} clips/s"])

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._begun_s, self._clips = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._clips += world_size() * len(batch["target"])
        self._ended_s = time.perf_counter()
        pl_module.log(FIGURE, self._now(), prog_bar=True, logger=False)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.epochs.append(self._now())
        pl_module.log(FIGURE, self.epochs[-1])

    def _now(self) -> float:
        return self._clips / max(self._ended_s - self._begun_s, 1e-9)
