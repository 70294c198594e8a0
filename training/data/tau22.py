"""The reader of data sets: a folder in the layout of TAU Urban Acoustic Scenes 2022 Mobile, split and decoded.

Refuses a folder with faults, in one message: those that :mod:`tinyscene.training.data.split_files` finds in the split
files, :mod:`tinyscene.training.data.decode` in the clips, and :mod:`tinyscene.training.data.caches` in the caches of an
earlier run.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import I16, I64

from ..errors import TrainingError
from .caches import caches_of_others
from .decode import clip_faults, inspect_clips, load_waveforms
from .faults import Fault, refusal
from .split_files import Record, read_tables

VALIDATION_SHARE = 0.15
Index = slice | I64 | list[int]  # rows of an array


class Rows:
    """Some rows of an int16 (n, samples) array on disk, read on access."""

    def __init__(self, source: I16 | Rows, rows: I64) -> None:
        self.source: I16 = source.source if isinstance(source, Rows) else source
        self.rows: I64 = source.rows[rows] if isinstance(source, Rows) else rows

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), self.source.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Index) -> I16:
        clips: I16 = self.source[self.rows[which]]
        return clips

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.source[self.rows], dtype)


@dataclass(frozen=True)
class Clips:
    """Decoded clips: row i of ``waveforms`` int16 (n, samples) is ``records[i]`` with label index ``targets[i]``."""

    records: tuple[Record, ...]
    waveforms: I16 | Rows
    targets: I64

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: I64) -> Clips:
        """The clips at these row numbers; their waveforms are read on access."""
        records = tuple(self.records[i] for i in rows)
        return Clips(records, Rows(self.waveforms, rows), self.targets[rows])


@dataclass(frozen=True)
class Dataset:
    """The three parts of a folder, decoded at ``sample_rate_hz``. No place occurs in both training and validation."""

    labels: tuple[str, ...]
    sample_rate_hz: int
    train: Clips
    validation: Clips
    test: Clips


@dataclass(frozen=True)
class Inspection:
    """The clips of each part whose rows can be read, all faults of the folder, and doubts about its samples."""

    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    test: tuple[Record, ...]
    faults: tuple[Fault, ...]
    doubts: tuple[Fault, ...]


def inspect(
    folder: Path, subset: int = 100, run_folder: Path | None = None, *, samples: bool = True, progress: bool = True
) -> Inspection:
    """Find all faults of ``folder``, and of the caches in ``run_folder``; raises TrainingError without split files.

    Reading all clips takes long; without ``samples`` only their headers are read, and only if there are other faults.
    """
    tables = read_tables(folder, subset)
    training, validation = split_validation(tables.train)
    faults, doubts = list(tables.faults), list[Fault]()
    if run_folder is not None:
        faults += caches_of_others(
            run_folder, folder, {"train": training, "validation": validation, "test": tables.test}
        )
    if samples:
        of_clips, doubts = inspect_clips(folder, tables.present, samples=True, progress=progress)
        faults += of_clips
    elif faults:
        faults += clip_faults(folder, tables.present, progress=progress)
    return Inspection(training, validation, tables.test, tuple(faults), tuple(doubts))


@dataclass(frozen=True)
class Tau22:
    """An opened folder: records of each part, and the scene labels in alphabetical order."""

    folder: Path
    labels: tuple[str, ...]
    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    test: tuple[Record, ...]

    @classmethod
    def open(cls, folder: Path, subset: int = 100, run_folder: Path | None = None) -> Tau22:
        """Read the split files; ``subset`` is the percentage of training clips (100, or N of ``splitN.csv``).

        Raises TrainingError with all faults. The headers of clips are checked only if there are others, otherwise
        before decoding.
        """
        inspection = inspect(folder, subset, run_folder, samples=False)
        if inspection.faults:
            raise refusal(folder, inspection.faults)
        labels = tuple(sorted({r.scene for r in inspection.train}))
        return cls(folder, labels, inspection.train, inspection.validation, inspection.test)

    def load(self, sample_rate_hz: int, cache_dir: Path, *, progress: bool = True) -> Dataset:
        """Decode all three parts at ``sample_rate_hz`` into one array under ``cache_dir``; raises TrainingError."""
        records = (*self.train, *self.validation, *self.test)
        waveforms = load_waveforms(self.folder, records, sample_rate_hz, cache_dir, progress=progress)
        targets = np.array([self.labels.index(r.scene) for r in records], dtype=np.int64)
        ends = np.cumsum([0, len(self.train), len(self.validation), len(self.test)])
        train, validation, test = (
            Clips(records[a:b], waveforms[a:b], targets[a:b]) for a, b in itertools.pairwise(ends.tolist())
        )
        return Dataset(self.labels, sample_rate_hz, train, validation, test)


def split_validation(train: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Split training records into training and validation: deterministic, disjoint by place.

    Validation gets about 15 % of the places of every scene, at least one if the scene has three or more; the selection
    depends on names only.
    """
    by_scene: dict[str, set[str]] = {}
    for r in train:
        by_scene.setdefault(r.scene, set()).add(r.place)
    validation_places: set[str] = set()
    for scene, places in sorted(by_scene.items()):
        order = sorted(places, key=lambda place: hashlib.sha256(f"{scene} {place}".encode()).digest())
        validation_places |= set(order[: round(VALIDATION_SHARE * len(order)) or int(len(order) >= 3)])
    remaining_scenes = {r.scene for r in train if r.place not in validation_places}
    validation_places = {
        place
        for place in validation_places
        if all(scene in remaining_scenes or place not in p for scene, p in by_scene.items())
    }
    return tuple(r for r in train if r.place not in validation_places), tuple(
        r for r in train if r.place in validation_places
    )


def split_folds(train: Sequence[Record], folds: int) -> I64:
    """The fold of each record, int64 (n,) in [0, folds): places stay together, every scene is spread over all folds.

    Depends on names only. Raises TrainingError for a scene with fewer than two places.
    """
    fold_of: dict[tuple[str, str], int] = {}
    for scene in sorted({r.scene for r in train}):
        places = {r.place for r in train if r.scene == scene}
        if len(places) < 2:
            raise TrainingError(
                f"scene '{scene}'", "cannot be split into folds", expected="at least two places", got=len(places)
            )
        order = sorted(places, key=lambda place: hashlib.sha256(f"fold {scene} {place}".encode()).digest())
        fold_of |= {(scene, place): i % folds for i, place in enumerate(order)}
    # A place with several scenes is in the fold of its first scene.
    home = {place: fold for (_, place), fold in reversed(fold_of.items())}
    return np.array([home[r.place] for r in train], dtype=np.int64)
