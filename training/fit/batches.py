"""Batches for training and validation: rows of the memory-mapped clips, in an order derived from seed and epoch only.

With several processes, each reads its share of every batch. Refuses soft targets that lack a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from tinyscene.runtime.arrays import F32

from ..data.tau22 import Clips, Dataset
from ..distillation.soft_targets import SoftTargets
from ..recipe import FitSettings
from ..transforms.augment import PARTNER
from ..transforms.views import View, Views
from .processes import rank, world_size

Batch = dict[str, Tensor]


class TrainingBatches(torch.utils.data.Dataset[Batch]):
    """Training clips, fetched a batch at a time from the memory-mapped array with the draws of the epoch's view.

    With ``soft_targets`` a batch has the key ``teacher``: the logits for this view if the teachers were evaluated on
    views, otherwise those for the unaugmented clip; a mixed-in clip then has logits of its own.
    """

    def __init__(self, clips: Clips, views: Views, sample_rate_hz: int, soft_targets: SoftTargets | None) -> None:
        self.clips, self.views = clips, views
        self.responses = views.responses(sample_rate_hz)
        self.teacher: F32 | None = None
        if soft_targets is not None:
            self.teacher = soft_targets.rows_for([r.filename for r in clips.records])
        self.teacher_has_views = soft_targets is not None and soft_targets.views is not None
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Batches fetched after this call belong to ``epoch``."""
        self.number = self.views.number(epoch)
        self.view = View(self.clips, self.views, self.number, self.responses)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitems__(self, rows: list[int]) -> Batch:
        index = np.array(rows)
        batch = self.view.batch(index)
        if self.teacher is None:
            return batch
        partners = self.view.draws.get("partner")
        if self.teacher_has_views:
            of_clip = of_partner = torch.from_numpy(self.teacher[index, self.number])
        else:
            of_clip = torch.from_numpy(self.teacher[index])
            of_partner = of_clip if partners is None else torch.from_numpy(self.teacher[partners[index]])
        return batch | {"teacher": of_clip} | ({} if partners is None else {PARTNER + "teacher": of_partner})


class ValidationBatches(torch.utils.data.Dataset[Batch]):
    """Unaugmented clips, fetched a batch at a time."""

    def __init__(self, clips: Clips) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitems__(self, rows: list[int]) -> Batch:
        waveforms = torch.from_numpy(np.array(self.clips.waveforms[rows]))
        return {"waveform": waveforms, "target": torch.from_numpy(self.clips.targets[rows])}


class EpochShuffle(Sampler[int]):
    """A permutation that depends on (seed, epoch) only; ``on_epoch`` is called with the epoch when it begins.

    Of n processes each takes every n-th row: together their batches equal those of one process.
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


@dataclass(frozen=True, eq=False)
class Loaders:
    """Training batches, the impulse responses they refer to (count, taps), and validation batches if any."""

    train: DataLoader[Batch]
    impulse_responses: Tensor | None
    validation: DataLoader[Batch] | None


def loaders_of(dataset: Dataset, settings: FitSettings, soft_targets: SoftTargets | None, seed: int) -> Loaders:
    """The loaders of one training run; without validation batches if the dataset has no validation clips.

    If the soft targets belong to views, training uses exactly these views, whatever ``settings.augment`` is.
    """
    views = (soft_targets and soft_targets.views) or Views(settings.augment, seed)
    train = TrainingBatches(dataset.train, views, dataset.sample_rate_hz, soft_targets)
    shuffle = EpochShuffle(len(train), seed, train.set_epoch)
    batch_size = max(1, settings.batch_size // world_size())
    # A last batch of one clip has no batch statistics.
    drop_last = len(shuffle) > batch_size and len(shuffle) % batch_size == 1
    loader = DataLoader(train, batch_size, sampler=shuffle, collate_fn=_identity, drop_last=drop_last)
    if not len(dataset.validation):
        return Loaders(loader, train.responses, None)
    validation = DataLoader(ValidationBatches(dataset.validation), settings.batch_size, collate_fn=_identity)
    return Loaders(loader, train.responses, validation)


def _identity(batch: object) -> object:
    """``__getitems__`` returns whole batches."""
    return batch
