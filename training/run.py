"""The record of one training run: its data, its folder, its seed, and whether it continues an earlier one.

Every function between the command line and :func:`tinyscene.training.fit.fit.fit` takes one :class:`Run` and derives
the runs of teachers, folds, students and devices from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .data.tau22 import Dataset


@dataclass(frozen=True, eq=False)
class Run:
    """One training run.

    Attributes:
        dataset: training, validation and test clips.
        folder: where checkpoints, logs and results are written.
        seed: every random draw is derived from it and from the epoch.
        resume: continue from the last checkpoint in ``folder``, where there is one.
        progress: show progress bars.
    """

    dataset: Dataset
    folder: Path
    seed: int
    resume: bool = False
    progress: bool = True

    def inside(self, name: str) -> Run:
        """The same run in the sub-folder ``name``."""
        return replace(self, folder=self.folder / name)

    def with_seed(self, seed: int) -> Run:
        """The same run with another seed."""
        return replace(self, seed=seed)

    def with_dataset(self, dataset: Dataset) -> Run:
        """The same run with other clips."""
        return replace(self, dataset=dataset)
