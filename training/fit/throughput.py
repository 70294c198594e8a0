"""Training throughput in clips per second: on the progress bar, in the log of every epoch, and as the median over the
epochs at the end. Data loading and the training step are included; validation and checkpoints are not.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
from lightning.pytorch.callbacks import Callback

from tinyscene.runtime.terminal import notes

from .last_checkpoint import read_run, write_run
from .processes import is_first, world_size

if TYPE_CHECKING:
    from .batches import Batch

CLIPS_PER_SECOND = "clips_per_second"  # its key in run.json and in the logs


class Throughput(Callback):
    """Measures the epochs of this process, multiplied by the number of processes."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self._start_s = self._end_s = 0.0
        self._clips = 0

    @property
    def clips_per_second(self) -> float | None:
        """The median over the epochs, None before the end of the first."""
        return statistics.median(self.epochs) if self.epochs else None

    def write(self, record: Path, *, shown: bool) -> None:
        """Add the median to the JSON file ``record`` and print it if ``shown``; of a resumed run, the epochs since."""
        if self.clips_per_second is None or not is_first():
            return
        write_run(record, {**read_run(record), CLIPS_PER_SECOND: self.clips_per_second})
        if shown:
            notes(str(record.parent), [f"trained at {self.clips_per_second:,.0f} clips/s"])

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._start_s, self._clips = time.perf_counter(), 0

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        self._clips += world_size() * len(batch["target"])
        self._end_s = time.perf_counter()
        pl_module.log(CLIPS_PER_SECOND, self._rate(), prog_bar=True, logger=False)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.epochs.append(self._rate())
        pl_module.log(CLIPS_PER_SECOND, self.epochs[-1])

    def _rate(self) -> float:
        return self._clips / max(self._end_s - self._start_s, 1e-9)
