"""What is wrong with a data set: found before the first step, and all of it said together.

:mod:`tinyscene.training.data.split_files` finds what is wrong with the split files,
:mod:`tinyscene.training.data.decode` with the clips, :mod:`tinyscene.training.data.caches` with what a run folder kept
of other clips; :func:`tinyscene.training.data.tau22.inspect` puts it into one list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError

SHOWN = 3
# Kinds in the order in which they are listed; what is wrong with the tables may explain what is wrong with the clips.
KINDS = (
    "split file",
    "file name",
    "label",
    "device",
    "duplicate",
    "part not whole",
    "missing file",
    "not decodable",
    "not one second",
    "not finite",
    "sample rate",
    "cache of other clips",
)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: its kind, one of ``KINDS``, and a line that names file or scene and says what it is."""

    kind: str
    what: str


def by_kind(faults: Sequence[Fault]) -> dict[str, list[str]]:
    """The lines of each kind there is, in the order of ``KINDS``."""
    return {kind: found for kind in KINDS if (found := [fault.what for fault in faults if fault.kind == kind])}


def refusal(folder: Path, faults: Sequence[Fault]) -> TrainingError:
    """How many faults of which kind there are, the first few, and the command that lists them all."""
    counts = Counter(fault.kind for fault in faults)
    kinds = ", ".join(f"{kind} {counts[kind]}" for kind in KINDS if counts[kind])
    first = "; ".join(fault.what for fault in faults[:SHOWN])
    number = "1 fault" if len(faults) == 1 else f"{len(faults):,} faults"
    return TrainingError(str(folder), f"{number} ({kinds}): {first}", next_step=f"tinyscene data check {folder}")
