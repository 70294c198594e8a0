"""Synthetic scenes written as a folder in TAU22 layout, so that everything runs without data.

Every sound follows from (seed, scene, place), whatever the number of workers. The folder is written beside its final
name and renamed when complete; an existing folder is refused.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from tinyscene.runtime.files import new_folder
from tinyscene.runtime.terminal import bar

from ..data.microphones import device, record
from ..data.write_tables import ClipCounts, Row, write_tables
from .scenes import SCENES, record_place
from .sounds import RATE_HZ

CITIES = ("arden", "belmont", "corvin", "dunmore")
TRAIN_DEVICES = ("a", "b", "c", "s1", "s2", "s3")
TEST_DEVICES = (*TRAIN_DEVICES, "s4", "s5", "s6")


@dataclass(frozen=True)
class Place:
    """One place to record: ``clips`` seconds by device ``a`` (and fewer by each of the others)."""

    scene: str
    number: int
    test: bool
    seed: int
    clips: int
    clips_per_device: int

    @property
    def city(self) -> str:
        return CITIES[self.number % len(CITIES)]


def write_tau22_layout(
    out: Path,
    *,
    seed: int,
    locations_per_class: int = 20,
    clips_per_location: int = 6,
    clips_per_device: int = 2,
    train_devices: Sequence[str] = TRAIN_DEVICES,
    test_devices: Sequence[str] = TEST_DEVICES,
    progress: bool = True,
    workers: int | None = None,
) -> ClipCounts:
    """Write the folder ``out``: a quarter of the places of each scene are for the test.

    In training, device ``a`` has all clips of a place and every other device ``clips_per_device`` of them; in the test
    every device, ``a`` too, has ``clips_per_device``. Raises TrainingError if ``out`` exists.
    """
    held = max(1, locations_per_class // 4)
    places = [
        Place(scene, number * locations_per_class + i, i < held, seed, clips_per_location, clips_per_device)
        for number, scene in enumerate(SCENES)
        for i in range(locations_per_class)
    ]
    with new_folder(out) as temporary:
        (temporary / "audio").mkdir()
        rows = _record_all(temporary, places, tuple(train_devices), tuple(test_devices), progress, workers)
        train = [r for place, part in rows for r in part if not place.test]
        test = [r for place, part in rows for r in part if place.test]
        return write_tables(temporary, train, test)


def _record_all(
    out: Path,
    places: Sequence[Place],
    train_devices: tuple[str, ...],
    test_devices: tuple[str, ...],
    progress: bool,
    workers: int | None,
) -> list[tuple[Place, list[Row]]]:
    rows: dict[Place, list[Row]] = {}
    # Ctrl-C reaches every process of a terminal: this one says so, the workers keep silent and end with their scene.
    alone = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_IGN)}
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn"), **alone) as pool:
        jobs = {pool.submit(record_clips, out, p, test_devices if p.test else train_devices): p for p in places}
        try:
            for job in bar(as_completed(jobs), "recording scenes", total=len(jobs), shown=progress):
                rows[jobs[job]] = job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or leaving the block would wait for every scene still to come
            raise
    return [(place, rows[place]) for place in places]


def record_clips(out: Path, place: Place, devices: tuple[str, ...]) -> list[Row]:
    """Record one place and write its clips; their rows in order."""
    rng = np.random.default_rng([place.seed, list(SCENES).index(place.scene), place.number])
    sound = record_place(place.scene, place.clips, rng)
    rows: list[Row] = []
    for name in devices:
        count = place.clips if name == "a" and not place.test else min(place.clips, place.clips_per_device)
        subs = sorted(rng.choice(place.clips, count, replace=False).tolist())
        for sub in subs:
            clip = record(sound[sub * RATE_HZ : (sub + 1) * RATE_HZ], device(name), RATE_HZ, rng)
            filename = f"audio/{place.scene}-{place.city}-{place.number}-{place.number}-{sub}-{name}.wav"
            soundfile.write(out / filename, clip, RATE_HZ, subtype="PCM_24")
            rows.append((filename, place.scene, f"{place.city}-{place.number}", name))
    return rows
