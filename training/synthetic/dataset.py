"""Synthetic scenes as a folder in TAU22 layout, so that every command can be tried without data.

Every sound depends on (seed, scene, place) only, not on the number of workers. The folder is written beside its final
name and renamed when complete. Refuses a folder that exists.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tinyscene.runtime.files import new_folder
from tinyscene.runtime.processes import worker_processes
from tinyscene.runtime.terminal import bar

from ..data.microphones import device, record
from ..data.write_tables import ClipCounts, Row, write_tables
from ..data.write_wav import write_wav
from .scenes import SCENES, record_place
from .sounds import RATE_HZ

CITIES = ("arden", "belmont", "corvin", "dunmore")
TRAIN_DEVICES = ("a", "b", "c", "s1", "s2", "s3")
TEST_DEVICES = (*TRAIN_DEVICES, "s4", "s5", "s6")


@dataclass(frozen=True)
class SyntheticSettings:
    """Size of a synthetic data set.

    In training, device ``a`` has all clips of a place and every other device ``clips_per_device`` of them; in the test
    part every device, including ``a``, has ``clips_per_device``.
    """

    seed: int
    locations_per_class: int = 20
    clips_per_location: int = 6
    clips_per_device: int = 2
    train_devices: tuple[str, ...] = TRAIN_DEVICES
    test_devices: tuple[str, ...] = TEST_DEVICES

    def places(self) -> list[Place]:
        """Every place; the first quarter of each scene's places is for the test."""
        test = max(1, self.locations_per_class // 4)
        return [
            Place(scene, number * self.locations_per_class + i, i < test, self)
            for number, scene in enumerate(SCENES)
            for i in range(self.locations_per_class)
        ]


@dataclass(frozen=True)
class Place:
    """One place of a scene, recorded by the devices of its part."""

    scene: str
    number: int
    test: bool
    settings: SyntheticSettings

    @property
    def city(self) -> str:
        return CITIES[self.number % len(CITIES)]

    @property
    def devices(self) -> tuple[str, ...]:
        return self.settings.test_devices if self.test else self.settings.train_devices

    def clips_of(self, device: str) -> int:
        """Number of clips that ``device`` records here."""
        clips = self.settings.clips_per_location
        return clips if device == "a" and not self.test else min(clips, self.settings.clips_per_device)


def write_tau22_layout(
    out: Path, settings: SyntheticSettings, *, progress: bool = True, workers: int | None = None
) -> ClipCounts:
    """Write the folder ``out`` with ``workers`` processes, one per CPU by default.

    Raises RuntimeFailure if ``out`` exists.
    """
    with new_folder(out) as temporary:
        (temporary / "audio").mkdir()
        rows = _record_all(temporary, settings.places(), progress, workers)
        train = [r for place, part in rows for r in part if not place.test]
        test = [r for place, part in rows for r in part if place.test]
        return write_tables(temporary, train, test)


def _record_all(
    out: Path, places: Sequence[Place], progress: bool, workers: int | None
) -> list[tuple[Place, list[Row]]]:
    count = min(len(places), workers or os.cpu_count() or 1)
    with worker_processes(partial(record_clips, out), count) as pool:
        rows = dict(bar(pool.map(places), "recording scenes", total=len(places), shown=progress))
    return [(place, rows[place]) for place in places]


def record_clips(out: Path, place: Place) -> list[Row]:
    """Synthesise one place and write its clips; returns their rows in order."""
    settings = place.settings
    rng = np.random.default_rng([settings.seed, list(SCENES).index(place.scene), place.number])
    sound = record_place(place.scene, settings.clips_per_location, rng)
    rows: list[Row] = []
    for name in place.devices:
        subs = sorted(rng.choice(settings.clips_per_location, place.clips_of(name), replace=False).tolist())
        for sub in subs:
            clip = record(sound[sub * RATE_HZ : (sub + 1) * RATE_HZ], device(name), RATE_HZ, rng)
            filename = f"audio/{place.scene}-{place.city}-{place.number}-{place.number}-{sub}-{name}.wav"
            write_wav(out / filename, clip, RATE_HZ, "PCM_24")
            rows.append((filename, place.scene, f"{place.city}-{place.number}", name))
    return rows
