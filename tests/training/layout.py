"""A small folder in TAU22 layout for the tests: one tone per scene, fast to write and easy to learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

SCENES = ("airport", "bus", "park")


def write_layout(
    folder: Path, scenes: Sequence[str] = (), *, places: int = 4, clips: int = 2, rate_hz: int = 44_100
) -> Path:
    """A few scenes, :data:`SCENES` if none are given: ``places`` places each for training and one for the test, devices
    a and s1 (s4 in the test)."""
    rng = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True)
    rows: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for k, scene in enumerate(scenes or SCENES):
        for place in range(places + 1):
            test = place == places
            for sub in range(clips):
                for device in ("a", "s4" if test else "s1"):
                    name = f"audio/{scene}-arden-{k * 100 + place}-{place}-{sub}-{device}.wav"
                    t = np.arange(rate_hz) / rate_hz
                    tone = 0.2 * np.sin(2 * np.pi * (300 * 3**k + rng.uniform(0, 30)) * t)
                    noise = 0.02 * rng.standard_normal(rate_hz)
                    soundfile.write(folder / name, tone + noise, rate_hz, subtype="PCM_24")
                    rows[test].append((name, scene))
    write_split(folder / "evaluation_setup" / "fold1_train.csv", rows[False])
    write_split(folder / "evaluation_setup" / "fold1_evaluate.csv", rows[True])
    return folder


def write_split(path: Path, rows: list[tuple[str, str]], newline: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["filename\tscene_label", *("\t".join(row) for row in rows)]
    path.write_text(newline.join(lines) + newline, newline="")
