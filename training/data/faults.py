"""Faults of a data set: found before the first training step, and reported together. Doubts, which training accepts.

:mod:`tinyscene.training.data.split_files` checks the split files, :mod:`tinyscene.training.data.decode` the clips,
:mod:`tinyscene.training.data.caches` the caches in a run folder; :func:`tinyscene.training.data.tau22.inspect` collects
all faults in one list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError

SHOWN = 3
# Kinds in the order in which they are listed; a fault of the tables may explain faults of the clips.
KINDS = (
    "split file",
    "file name",
    "label",
    "device",
    "duplicate",
    "part not complete",
    "missing file",
    "not decodable",
    "not one second",
    "not finite",
    "sample rate",
    "cache of other clips",
)
DOUBTS = ("silent", "doubtful samples")  # clips whose label is hardly right; only `data check` reads all samples


@dataclass(frozen=True)
class Fault:
    """One fault or doubt: its kind, of ``KINDS`` or ``DOUBTS``, and a line about the file or scene."""

    kind: str
    what: str


def by_kind(faults: Sequence[Fault]) -> dict[str, list[str]]:
    """The lines of each kind that occurs, in the order of ``KINDS`` and ``DOUBTS``."""
    return {
        kind: lines for kind in (*KINDS, *DOUBTS) if (lines := [fault.what for fault in faults if fault.kind == kind])
    }


def refusal(folder: Path, faults: Sequence[Fault]) -> TrainingError:
    """The number of faults of each kind, the first few, and the command that lists them all."""
    counts = Counter(fault.kind for fault in faults)
    kinds = ", ".join(f"{kind} {counts[kind]}" for kind in KINDS if counts[kind])
    first = "; ".join(fault.what for fault in faults[:SHOWN])
    number = "1 fault" if len(faults) == 1 else f"{len(faults):,} faults"
    return TrainingError(str(folder), f"{number} ({kinds}): {first}", next_step=f"tinyscene data check {folder}")
