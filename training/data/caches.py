"""Check the caches in a run folder, decoded clips and teachers' logits, against the data set of a resumed run.

Both are keyed by their clips, so those of another data set are never used; but a run folder that contains them is most
likely the wrong one, therefore they are reported as faults. Damaged logits are reported by the code that reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .decode import cache_name
from .faults import Fault
from .split_files import Record

CLIPS = "cache"  # name of the folder of decoded clips in a run folder


def caches_of_others(run_folder: Path, folder: Path, parts: Mapping[str, Sequence[Record]]) -> list[Fault]:
    """Caches in ``run_folder`` that do not belong to the clips of ``folder``; ``parts`` by name, in order."""
    records = [r for part in parts.values() for r in part]
    foreign = []
    for path in sorted((run_folder / CLIPS).glob("waveforms-*-*.[np]*")):  # complete (npy) or not (part)
        rate = path.stem.split("-")[1]
        if not rate.isdecimal() or path.stem != Path(cache_name(folder, records, int(rate))).stem:
            foreign.append(path)
    for path in sorted(run_folder.glob("teachers/*/logits-*.npz")):
        part = path.stem.removeprefix("logits-").removesuffix("-views")
        names = _names(path)
        if names is not None and names != [r.filename for r in parts.get(part, ())]:
            foreign.append(path)
    what = "belongs to other clips, or to these before they changed: remove it, or give another run folder"
    return [Fault("cache of other clips", f"{path} {what}") for path in foreign]


def _names(path: Path) -> list[str] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [str(name) for name in archive["names"]]
    except Exception:  # NumPy and zipfile raise many types on damaged bytes
        return None
