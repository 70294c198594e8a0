"""Recordings of one's own as a folder in TAU22 layout: one sub-folder per scene, cut into clips of one second.

A recording is taken for a place: all its clips go to training, or all to the test, a quarter of each scene's recordings
by their names alone. Every clip is of device ``a``. Refuses fewer than two scenes, scenes of fewer than two recordings,
and what :mod:`tinyscene.runtime.audio` refuses; recordings shorter than a second are refused too. The folder appears
whole or not at all.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import soundfile

from tinyscene.runtime.audio import AUDIO_SUFFIXES, read_audio
from tinyscene.runtime.files import new_folder
from tinyscene.runtime.terminal import bar

from ..errors import TrainingError
from .write_tables import ClipCounts, Row, write_tables

RATE_HZ = 44_100
TEST_SHARE = 0.25
CITY = "here"


def cut_recordings(recordings: Path, out: Path, *, progress: bool = True) -> ClipCounts:
    """Cut ``recordings/SCENE/NAME.wav`` (any rate, channels mixed down) into ``out``; raises TinysceneError."""
    scenes = _recordings(recordings)
    numbered = [(scene, path, test) for scene, paths in scenes.items() for path, test in _parted(paths)]
    with new_folder(out) as temporary:
        (temporary / "audio").mkdir()
        train: list[Row] = []
        held: list[Row] = []
        for number, (scene, path, test) in enumerate(bar(numbered, "cutting", shown=progress)):
            (held if test else train).extend(_cut(path, scene, number, temporary))
        return write_tables(temporary, train, held)


def _recordings(folder: Path) -> dict[str, list[Path]]:
    """Audio files by scene, both in alphabetical order."""
    below = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {s.name: sorted(p for p in s.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES) for s in below if s.is_dir()}
    scenes = {scene: paths for scene, paths in found.items() if paths}
    if len(scenes) < 2:
        raise TrainingError(
            str(folder),
            "holds no recordings of two scenes or more",
            expected=f"folders named as scenes, with files ending in {', '.join(sorted(AUDIO_SUFFIXES))}",
            got=", ".join(scenes) or "none",
        )
    for scene, paths in scenes.items():
        if len(paths) < 2:
            step = "record it in another place: one recording is for training, the other for the test"
            raise TrainingError(str(folder / scene), "too few recordings", expected="2", got=len(paths), next_step=step)
    return scenes


def _parted(paths: list[Path]) -> list[tuple[Path, bool]]:
    """Each recording, and whether it is for the test; its name alone decides, so that more recordings move none."""
    order = sorted(paths, key=lambda path: hashlib.sha256(path.name.encode()).digest())
    held = set(order[: max(1, round(TEST_SHARE * len(order)))])
    return [(path, path in held) for path in paths]


def _cut(path: Path, scene: str, number: int, out: Path) -> list[Row]:
    samples = read_audio(path, RATE_HZ)
    clips = len(samples) // RATE_HZ
    if not clips:
        raise TrainingError(str(path), "shorter than a clip", expected="1 s", got=f"{len(samples) / RATE_HZ:.2f} s")
    rows: list[Row] = []
    for sub in range(clips):
        name = f"audio/{scene}-{CITY}-{number}-{number}-{sub}-a.wav"
        soundfile.write(out / name, samples[sub * RATE_HZ : (sub + 1) * RATE_HZ], RATE_HZ, subtype="PCM_16")
        rows.append((name, scene, f"{CITY}-{number}", "a"))
    return rows
