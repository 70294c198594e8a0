"""Cut your own recordings, one sub-folder per scene, into one-second clips in a folder in TAU22 layout.

Each recording counts as one place: all its clips go to training or all to the test part, which gets a quarter of each
scene's recordings, selected by their names only. Every clip has device ``a``. The folder is written completely or not
at all. Refuses fewer than two scenes, scenes of fewer than two recordings, recordings shorter than 0.95 s, a folder
to write among the recordings, where it would be a scene, and whatever :mod:`tinyscene.runtime.audio` refuses. What
makes a recording doubtful, silence included, is a note.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from tinyscene.runtime.audio import AudioReader, fit_to_clip
from tinyscene.runtime.containers import AUDIO_SUFFIXES, is_recording_name
from tinyscene.runtime.files import new_folder
from tinyscene.runtime.limits import SILENT_PEAK, is_one_clip
from tinyscene.runtime.printable import printable
from tinyscene.runtime.terminal import bar, notes

from ..errors import TrainingError
from .write_tables import ClipCounts, Row, write_tables
from .write_wav import write_wav

RATE_HZ = 44_100
TEST_SHARE = 0.25
CITY = "here"


def cut_recordings(recordings: Path, out: Path, *, progress: bool = True) -> ClipCounts:
    """Cut ``recordings/SCENE/NAME.wav`` (any rate, channels mixed down) into ``out``; raises TinysceneError."""
    scenes = _recordings(recordings)
    if out.resolve().is_relative_to(recordings.resolve()):
        what = "lies among the recordings, of which every folder is a scene"
        raise TrainingError(str(out), what, got=str(recordings), next_step="give another folder with --out")
    recorded = [(scene, *each) for scene, paths in scenes.items() for each in _assigned(paths)]
    with new_folder(out) as temporary:
        (temporary / "audio").mkdir()
        train: list[Row] = []
        test: list[Row] = []
        for number, (scene, path, for_test) in enumerate(bar(recorded, "cutting", shown=progress)):
            (test if for_test else train).extend(_cut(path, scene, number, temporary))
        return write_tables(temporary, train, test)


def _recordings(folder: Path) -> dict[str, list[Path]]:
    """Audio files by scene, both in alphabetical order."""
    folders = [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    audio = {f.name: sorted(p for p in f.rglob("*") if is_recording_name(p.name)) for f in folders}
    scenes = {scene: paths for scene, paths in audio.items() if paths}
    if len(scenes) < 2:
        raise TrainingError(
            str(folder),
            "contains recordings of fewer than two scenes",
            expected=f"a folder per scene, with files ending in {', '.join(sorted(AUDIO_SUFFIXES))}",
            got=", ".join(scenes) or "none",
        )
    for scene, paths in scenes.items():
        if printable(scene) != scene:
            step = "rename the folder: the scene becomes a part of file names and tables"
            raise TrainingError(str(folder / scene), "control characters in the name of a scene", next_step=step)
        if len(paths) < 2:
            step = "record the scene in another place: one recording is for training, the other for the test"
            raise TrainingError(str(folder / scene), "too few recordings", expected="2", got=len(paths), next_step=step)
    return scenes


def _assigned(paths: list[Path]) -> list[tuple[Path, bool]]:
    """Each recording, and whether it is for the test; this depends on names only, not on the order of files."""
    order = sorted(paths, key=lambda path: hashlib.sha256(os.fsencode(path.name)).digest())
    test = set(order[: max(1, round(TEST_SHARE * len(order)))])
    return [(path, path in test) for path in paths]


def _cut(path: Path, scene: str, number: int, out: Path) -> list[Row]:
    rows: list[Row] = []
    silent = 0
    with AudioReader(path, RATE_HZ) as reader:
        for sub, block in enumerate(reader.blocks(RATE_HZ)):
            if len(block) < RATE_HZ and (sub or not is_one_clip(len(block), RATE_HZ)):
                break
            name = f"audio/{scene}-{CITY}-{number}-{number}-{sub}-a.wav"
            write_wav(out / name, fit_to_clip(block, RATE_HZ), RATE_HZ, "PCM_16")
            rows.append((name, scene, f"{CITY}-{number}", "a"))
            silent += bool(np.abs(block).max() <= SILENT_PEAK)
        if not rows:
            raise TrainingError(
                str(path), "shorter than a clip", expected="0.95 s or more", got=f"{reader.info.seconds:.2f} s"
            )
        notes(str(path), (*reader.findings, *((f"{silent} of {len(rows)} clips are silent",) if silent else ())))
    return rows
