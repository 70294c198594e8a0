"""The one reader of data: a folder in the layout of TAU Urban Acoustic Scenes 2022 Mobile.

``audio/scene-city-location-segment-sub-device.wav`` with ``evaluation_setup/fold1_train.csv`` and
``fold1_evaluate.csv`` (tab separated, columns ``filename`` and ``scene_label``), or ``split_setup/splitN.csv`` for a
part of the training clips. Everything wrong with a folder is said in one message: missing files and columns,
duplicates, names that do not parse or contradict their label, unknown devices, scenes that one part has and another has
not, and parts of the published set that are not whole.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import TrainingError

I16 = npt.NDArray[np.int16]
VALIDATION_SHARE = 0.15
DEVICE = re.compile(r"[abc]|s[1-9][0-9]?")
# Clips of the published parts; whoever has one of these numbers has the published set, and then all must fit.
PUBLISHED_TEST = 29_680
PUBLISHED_TRAIN = {5: 6_980, 10: 13_960, 25: 34_900, 50: 69_800, 100: 139_620}
SHOWN_PROBLEMS = 5


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
        """City and location: what separates training from validation."""
        return f"{self.city}-{self.location}"


class Rows:
    """Some rows of an int16 (n, samples) array on disk, read when they are asked for."""

    def __init__(self, source: I16 | Rows, rows: npt.NDArray[np.int64]) -> None:
        self.source: I16 = source.source if isinstance(source, Rows) else source
        self.rows = source.rows[rows] if isinstance(source, Rows) else rows

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.source.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> I16:
        return self.source[self.rows[which]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.source[self.rows], dtype)


@dataclass(frozen=True)
class Clips:
    """Decoded clips: row i of ``waveforms`` int16 (n, samples) is ``records[i]`` with label index ``targets[i]``."""

    records: tuple[Record, ...]
    waveforms: I16 | Rows
    targets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: npt.NDArray[np.int64]) -> Clips:
        """The clips at these row numbers; their waveforms stay where they are until read."""
        records = tuple(self.records[i] for i in rows)
        return Clips(records, Rows(self.waveforms, rows), self.targets[rows])


@dataclass(frozen=True)
class Dataset:
    """The three parts of a folder, decoded at ``sample_rate_hz``. Places of validation never occur in training."""

    labels: tuple[str, ...]
    sample_rate_hz: int
    train: Clips
    validation: Clips
    test: Clips


@dataclass(frozen=True)
class Tau22:
    """An opened folder: records of each part and the scene labels found, in alphabetical order."""

    folder: Path
    labels: tuple[str, ...]
    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    test: tuple[Record, ...]

    @classmethod
    def open(cls, folder: Path, subset: int = 100) -> Tau22:
        """Read the split files; ``subset`` is the percentage of training clips (100, or N of ``splitN.csv``).

        Raises TrainingError listing what is wrong.
        """
        train_csv, test_csv = _split_files(folder, subset)
        problems: list[str] = []
        train, test = read_split(train_csv, problems), read_split(test_csv, problems)
        audio = folder / "audio"
        present = {f"audio/{p.name}" for p in audio.iterdir()} if audio.is_dir() else set()
        missing = [r.filename for r in (*train, *test) if r.filename not in present]
        problems += [f"no file {name}" for name in missing]
        in_both = {r.filename for r in train} & {r.filename for r in test}
        problems += [f"{name} is in the training and the test part" for name in sorted(in_both)]
        labels = tuple(sorted({r.scene for r in train}))
        tested = {r.scene for r in test}
        problems += [f"test scene '{scene}' never occurs in training" for scene in sorted(tested - set(labels))]
        if test:
            problems += [f"scene '{scene}' never occurs in the test" for scene in sorted(set(labels) - tested)]
        problems += _not_whole(len(train), len(test), subset)
        if len(labels) < 2:
            problems.append(f"training needs two scenes or more, found {list(labels)}")
        if problems:
            raise _refusal(folder, problems)
        kept, held = split_validation(train)
        return cls(folder, labels, kept, held, test)

    def load(self, sample_rate_hz: int, cache_dir: Path, *, progress: bool = True) -> Dataset:
        """Decode all three parts at ``sample_rate_hz``, cached under ``cache_dir``."""
        from .waveforms import load_waveforms

        index = {label: i for i, label in enumerate(self.labels)}

        def clips(records: tuple[Record, ...]) -> Clips:
            waveforms = load_waveforms(self.folder, records, sample_rate_hz, cache_dir, progress=progress)
            return Clips(records, waveforms, np.array([index[r.scene] for r in records], dtype=np.int64))

        return Dataset(self.labels, sample_rate_hz, clips(self.train), clips(self.validation), clips(self.test))


def parse_filename(filename: str, scene: str) -> Record:
    """Record of ``audio/scene-city-location-segment-sub-device.wav``; raises ValueError saying what is wrong."""
    name = filename.removeprefix("audio/")
    if name == filename or not name.endswith(".wav") or "/" in name:
        raise ValueError(f"{filename} is not audio/NAME.wav")
    parts = name.removesuffix(".wav").rsplit("-", 5)
    if len(parts) != 6 or not all(parts):
        raise ValueError(f"{filename} is not scene-city-location-segment-sub-device")
    if parts[0] != scene:
        raise ValueError(f"{filename} has the label '{scene}'")
    if not DEVICE.fullmatch(parts[-1]):
        raise ValueError(f"{filename} is of an unknown device '{parts[-1]}', known: a, b, c, s1, s2, ...")
    return Record(filename, *parts)


def read_split(path: Path, problems: list[str] | None = None) -> tuple[Record, ...]:
    """Records of one labelled split file, in file order.

    Problems are appended to ``problems`` if a list is given, else raised together as one TrainingError.
    """
    found: list[str] = []
    records: list[Record] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(str(path), "cannot be read", got=error, next_step="check the folder") from error
    rows = list(csv.reader(text.splitlines(), delimiter="\t"))
    header = rows[0] if rows else []
    if "filename" not in header or "scene_label" not in header:
        found.append(f"{path.name}: no tab-separated columns filename and scene_label, but {header}")
        rows = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            found.append(f"{path.name} line {number}: {len(row)} columns, not {len(header)}")
            continue
        cells = dict(zip(header, row, strict=True))
        try:
            records.append(parse_filename(cells["filename"], cells["scene_label"]))
        except ValueError as error:
            found.append(f"{path.name} line {number}: {error}")
    repeated = [name for name, n in Counter(r.filename for r in records).items() if n > 1]
    found += [f"{path.name}: {name} occurs more than once" for name in repeated]
    if not records and not found:
        found.append(f"{path.name}: no clips")
    if problems is None and found:
        raise _refusal(path, found)
    if problems is not None:
        problems += found
    return tuple(records)


def split_validation(train: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Training records without and with some places held out: deterministic, disjoint by place.

    In every scene about 15 % of the places are held out, at least one if the scene has three or more; which ones
    depends on the names alone.
    """
    by_scene: dict[str, set[str]] = {}
    for r in train:
        by_scene.setdefault(r.scene, set()).add(r.place)
    held: set[str] = set()
    for scene, places in sorted(by_scene.items()):
        order = sorted(places, key=lambda place: hashlib.sha256(f"{scene} {place}".encode()).digest())
        held |= set(order[: round(VALIDATION_SHARE * len(order)) or int(len(order) >= 3)])
    kept = {r.scene for r in train if r.place not in held}
    held = {place for place in held if all(scene in kept or place not in p for scene, p in by_scene.items())}
    return tuple(r for r in train if r.place not in held), tuple(r for r in train if r.place in held)


def split_folds(train: Sequence[Record], folds: int) -> npt.NDArray[np.int64]:
    """The fold of each record, int64 (n,) in [0, folds): places stay together, every scene is spread over all folds.

    Deterministic by the names alone. Raises TrainingError for a scene with fewer than two places.
    """
    fold_of: dict[tuple[str, str], int] = {}
    for scene in sorted({r.scene for r in train}):
        places = {r.place for r in train if r.scene == scene}
        if len(places) < 2:
            raise TrainingError(f"scene '{scene}'", "cannot be split", expected="two places or more", got=len(places))
        order = sorted(places, key=lambda place: hashlib.sha256(f"fold {scene} {place}".encode()).digest())
        fold_of |= {(scene, place): i % folds for i, place in enumerate(order)}
    # One place with several scenes goes where its first scene goes.
    home = {place: fold for (_, place), fold in reversed(fold_of.items())}
    return np.array([home[r.place] for r in train], dtype=np.int64)


def _not_whole(train: int, test: int, subset: int) -> list[str]:
    """What is wrong with the counts, if one of them is that of the published set."""
    published = PUBLISHED_TRAIN.get(subset)
    if (test == PUBLISHED_TEST) == (train == published) or published is None:
        return []
    wrong, got, right = ("test", test, PUBLISHED_TEST) if train == published else ("training", train, published)
    return [f"the {wrong} part has {got:,} clips, the published one {right:,}"]


def _split_files(folder: Path, subset: int) -> tuple[Path, Path]:
    """Training and test file; raises TrainingError if the folder has none."""
    trains = [folder / "split_setup" / f"split{subset}.csv"]
    if subset == 100:
        trains.insert(0, folder / "evaluation_setup" / "fold1_train.csv")
    tests = [folder / "evaluation_setup" / "fold1_evaluate.csv", folder / "split_setup" / "test.csv"]
    found = [next((path for path in paths if path.is_file()), None) for paths in (trains, tests)]
    for path, paths in zip(found, (trains, tests), strict=True):
        if path is None:
            raise TrainingError(
                str(folder),
                "not a folder in TAU22 layout",
                expected=f"{paths[0].relative_to(folder)}, tab separated",
                got="no such folder" if not folder.is_dir() else "no such file",
                next_step="give the dataset's folder, or make one with 'tinyscene data cut' or 'data synth'",
            )
    return found[0], found[1]  # type: ignore[return-value]


def _refusal(where: Path, problems: list[str]) -> TrainingError:
    shown = "; ".join(problems[:SHOWN_PROBLEMS])
    more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return TrainingError(str(where), f"{len(problems)} problem(s): {shown}{more}", next_step="repair the folder")
