"""Batches for training and validation: rows of the memory-mapped clips, in an order that follows from seed and epoch.

Of several processes each gets its share of every batch. Refuses soft targets that lack a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from tinyscene.runtime.arrays import F32

from ..data.tau22 import Clips, Dataset
from ..distillation.soft_targets import SoftTargets
from ..distillation.views import View, Views
from ..recipe import FitSettings
from .augment import PARTNER
from .processes import rank, world_size


class TrainingBatches(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Training clips fetched a batch at a time from the memory-mapped array, as the epoch's view has them.

    With ``soft_targets`` each has its ``teacher``: of this very view if the teachers heard it, else of the clip as it
    is, and then a clip mixed in has its own.
    """

    def __init__(self, clips: Clips, views: Views, sample_rate_hz: int, soft_targets: SoftTargets | None) -> None:
        self.clips, self.views = clips, views
        self.responses = views.responses(sample_rate_hz)
        self.teacher: F32 | None = None
        if soft_targets is not None:
            self.teacher = soft_targets.rows_for([r.filename for r in clips.records])
        self.hears_views = soft_targets is not None and soft_targets.views is not None
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """What is fetched from now on is of this epoch."""
        self.number = self.views.number(epoch)
        self.view = View(self.clips, self.views, self.number, self.responses)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        which = np.array(rows)
        batch = self.view.batch(which)
        if self.teacher is None:
            return batch
        partners = self.view.drawn.get("partner")
        if self.hears_views:
            said = own = torch.from_numpy(self.teacher[which, self.number])
        else:
            own = torch.from_numpy(self.teacher[which])
            said = own if partners is None else torch.from_numpy(self.teacher[partners[which]])
        return batch | {"teacher": own} | ({} if partners is None else {PARTNER + "teacher": said})


class ValidationBatches(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Clips as they are, fetched a batch at a time."""

    def __init__(self, clips: Clips) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        waveforms = torch.from_numpy(np.array(self.clips.waveforms[rows]))
        return {"waveform": waveforms, "target": torch.from_numpy(self.clips.targets[rows])}


class EpochShuffle(Sampler[int]):
    """A permutation that depends on (seed, epoch) alone; Lightning says the epoch, and ``on_epoch`` is told it.

    Of n processes each takes every n-th row: together their batches are those of one process.
    """

    def __init__(self, count: int, seed: int, on_epoch: Callable[[int], None] = lambda epoch: None) -> None:
        self.count, self.seed, self.epoch = count // world_size() * world_size(), seed, 0
        self.clips, self.on_epoch = count, on_epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // world_size()

    def __iter__(self) -> Iterator[int]:
        self.on_epoch(self.epoch)
        rows = np.random.default_rng([self.seed, self.epoch]).permutation(self.clips)[: self.count]
        return iter(rows[rank() :: world_size()].tolist())


def loaders_of(
    dataset: Dataset, recipe: FitSettings, soft_targets: SoftTargets | None, seed: int
) -> tuple[DataLoader[Any], DataLoader[Any] | None]:
    """Training batches, and validation batches if the folder has places to spare for them.

    If the soft targets are of certain views, those are heard, whatever the recipe says of waveforms.
    """
    views = (soft_targets and soft_targets.views) or Views(recipe.augment, seed)
    train = TrainingBatches(dataset.train, views, dataset.sample_rate_hz, soft_targets)
    shuffle = EpochShuffle(len(train), seed, train.begin)
    batch_size = max(1, recipe.batch_size // world_size())
    # A last batch of one clip has no batch statistics.
    drop_last = len(shuffle) > batch_size and len(shuffle) % batch_size == 1
    loader = DataLoader(train, batch_size, sampler=shuffle, collate_fn=_as_is, drop_last=drop_last)
    if not len(dataset.validation):
        return loader, None
    return loader, DataLoader(ValidationBatches(dataset.validation), recipe.batch_size, collate_fn=_as_is)


def _as_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch
