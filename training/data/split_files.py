"""Read the split files of a folder in TAU22 layout: the clips they list, and all their faults.

``audio/scene-city-location-segment-sub-device.wav`` with ``evaluation_setup/fold1_train.csv`` and
``fold1_evaluate.csv`` (tab separated, columns ``filename`` and ``scene_label``), or ``split_setup/splitN.csv`` for a
subset of the training clips. Refuses a folder without these files; all other faults are listed: missing columns and
clips, duplicates, names that do not parse or contradict their label, unknown devices, scenes that occur in one part
only, and incomplete parts of the published set.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError
from .faults import Fault

DEVICE = re.compile(r"[abc]|s[1-9][0-9]?")
# Clips of the published parts; a folder with one of these counts is the published set, and then all must match.
PUBLISHED_TEST = 29_680
PUBLISHED_TRAIN = {5: 6_980, 10: 13_960, 25: 34_900, 50: 69_800, 100: 139_620}


@dataclass(frozen=True)
class Record:
    """One labelled clip of one second. ``filename`` is relative to the folder, as in the CSV."""

    filename: str
    scene: str
    city: str
    location: str
    segment: str
    sub: str
    device: str

    @property
    def place(self) -> str:
        """City and location: a place belongs to one part only."""
        return f"{self.city}-{self.location}"


@dataclass(frozen=True)
class Tables:
    """The clips of both parts whose rows can be read, those of them whose file exists, and the faults."""

    train: tuple[Record, ...]
    test: tuple[Record, ...]
    present: tuple[Record, ...]
    faults: tuple[Fault, ...]


def read_tables(folder: Path, subset: int = 100) -> Tables:
    """Read the split files; ``subset`` is the percentage of training clips (100, or N of ``splitN.csv``).

    Raises TrainingError only if they do not exist.
    """
    train_csv, test_csv = _split_files(folder, subset)
    faults: list[Fault] = []
    train, test = read_split(train_csv, faults), read_split(test_csv, faults)
    both = {r.filename: r for r in (*train, *test)}
    in_both = sorted({r.filename for r in train} & {r.filename for r in test})
    faults += [Fault("duplicate", f"{name} is in the training and the test part") for name in in_both]
    faults += _unmatched_scenes({r.scene for r in train}, {r.scene for r in test})
    faults += _incomplete_parts(len(train), len(test), subset)
    audio = folder / "audio"
    files = {f"audio/{path.name}" for path in audio.iterdir()} if audio.is_dir() else set()
    faults += [Fault("missing file", f"no file {name}") for name in both if name not in files]
    return Tables(train, test, tuple(r for name, r in both.items() if name in files), tuple(faults))


def read_split(path: Path, faults: list[Fault]) -> tuple[Record, ...]:
    """Records of one labelled split file, in file order; faults of the other rows are appended to ``faults``."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.append(Fault("split file", f"{path.name} cannot be read: {error}"))
        return ()
    header = rows[0] if rows else []
    if "filename" not in header or "scene_label" not in header:
        faults.append(
            Fault("split file", f"{path.name}: no tab-separated columns filename and scene_label, but {header}")
        )
        return ()
    records: list[Record] = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        parsed = _parse_row(header, row)
        if isinstance(parsed, Record):
            records.append(parsed)
        else:
            faults.append(Fault(parsed.kind, f"{path.name} line {number}: {parsed.what}"))
    repeated = [name for name, n in Counter(r.filename for r in records).items() if n > 1]
    faults += [Fault("duplicate", f"{path.name}: {name} occurs more than once") for name in repeated]
    if len(rows) < 2:
        faults.append(Fault("split file", f"{path.name}: no clips"))
    return tuple(records)


def _parse_row(header: list[str], row: list[str]) -> Record | Fault:
    """The clip of one row, or its fault."""
    if len(row) != len(header):
        return Fault("split file", f"{len(row)} columns, not {len(header)}")
    filename, scene = row[header.index("filename")], row[header.index("scene_label")]
    name = filename.removeprefix("audio/")
    if name == filename or not name.endswith(".wav") or "/" in name:
        return Fault("file name", f"{filename} is not audio/NAME.wav")
    parts = name.removesuffix(".wav").rsplit("-", 5)
    if len(parts) != 6 or not all(parts):
        return Fault("file name", f"{filename} is not scene-city-location-segment-sub-device")
    if parts[0] != scene:
        return Fault("label", f"{filename} has the label '{scene}'")
    if not DEVICE.fullmatch(parts[-1]):
        return Fault("device", f"{filename} is of an unknown device '{parts[-1]}', known: a, b, c, s1, s2, ...")
    return Record(filename, *parts)


def _unmatched_scenes(trained: set[str], tested: set[str]) -> list[Fault]:
    """Scenes that occur in one part only; an empty part has a fault of its own."""
    faults = []
    if trained:
        faults += [f"scene '{scene}' of the test part does not occur in training" for scene in sorted(tested - trained)]
    if tested:
        faults += [f"scene '{scene}' does not occur in the test part" for scene in sorted(trained - tested)]
    if len(trained) < 2:
        faults.append(f"training needs at least two scenes, got {sorted(trained)}")
    return [Fault("label", what) for what in faults]


def _incomplete_parts(train: int, test: int, subset: int) -> list[Fault]:
    """A fault if one count is that of the published set and the other is not."""
    published = PUBLISHED_TRAIN.get(subset)
    if (test == PUBLISHED_TEST) == (train == published) or published is None:
        return []
    wrong, got, right = ("test", test, PUBLISHED_TEST) if train == published else ("training", train, published)
    return [Fault("part not complete", f"the {wrong} part has {got:,} clips, the published one {right:,}")]


def _split_files(folder: Path, subset: int) -> tuple[Path, Path]:
    """Training and test file; raises TrainingError if one is missing."""
    trains = [folder / "split_setup" / f"split{subset}.csv"]
    if subset == 100:
        trains.insert(0, folder / "evaluation_setup" / "fold1_train.csv")
    tests = [folder / "evaluation_setup" / "fold1_evaluate.csv", folder / "split_setup" / "test.csv"]
    return _first_file(trains, folder), _first_file(tests, folder)


def _first_file(paths: list[Path], folder: Path) -> Path:
    """The first path that is a file; raises TrainingError if none is."""
    for path in paths:
        if path.is_file():
            return path
    raise TrainingError(
        str(folder),
        "not a folder in TAU22 layout",
        expected=f"{paths[0].relative_to(folder)}, tab separated",
        got="no such file" if folder.is_dir() else "not a folder" if os.path.lexists(folder) else "no such folder",
        next_step="give the dataset's folder, or create one with 'tinyscene data cut' or 'tinyscene data synth'",
    )
