"""What a run folder keeps of a data set, decoded clips and teachers' logits, held against the data set it goes on with.

Both are named by their clips, so those of another data set are never used; but a run folder that holds them is most
likely not the one meant, so that they are faults. Damaged logits are left to whoever reads them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .decode import cache_name
from .faults import Fault

if TYPE_CHECKING:
    from .split_files import Record

CLIPS = "cache"  # the folder of decoded clips in a run folder


def caches_of_others(run_folder: Path, folder: Path, parts: Mapping[str, Sequence[Record]]) -> list[Fault]:
    """Caches in ``run_folder`` that are not of the clips of ``folder``; ``parts`` by name, in order."""
    records = [r for part in parts.values() for r in part]
    found = []
    for path in sorted((run_folder / CLIPS).glob("waveforms-*-*.[np]*")):  # finished (npy) or not (part)
        rate = path.stem.split("-")[1]
        if not rate.isdecimal() or path.stem != Path(cache_name(folder, records, int(rate))).stem:
            found.append(path)
    for path in sorted(run_folder.glob("teachers/*/logits-*.npz")):
        part = path.stem.removeprefix("logits-").removesuffix("-views")
        names = _names(path)
        if names is not None and names != [r.filename for r in parts.get(part, ())]:
            found.append(path)
    said = "is of other clips, or of these before they changed: remove it, or give another run folder"
    return [Fault("cache of other clips", f"{path} {said}") for path in found]


def _names(path: Path) -> list[str] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [str(name) for name in archive["names"]]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
