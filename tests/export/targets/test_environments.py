"""Cached environments: targets that run side by side create each once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tinyscene.export.targets import environments, raspberry_pi


def test_two_targets_create_one_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second target once cleared the environment into which the first one was installing."""
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    programs = []

    def run_program(words: Sequence[str], *_: object, **__: object) -> None:
        programs.append(words[-1])
        time.sleep(0.1)
        environments.cached_folder("tosa").mkdir(exist_ok=True)

    monkeypatch.setattr(environments, "run_program", run_program)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(environments.environment, ("tosa", "tosa")))
    assert found[0] == found[1]
    assert len(programs) == 2  # a virtual environment, and its packages


def test_two_targets_unpack_one_raspberry_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second target once replaced the system in which the first one was running."""
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path / "cache"))
    emulator, unpacked = tmp_path / "emulator", []
    emulator.write_bytes(b"")

    def unpack(root: Path) -> None:
        unpacked.append(root)
        time.sleep(0.1)
        (root / "usr" / "bin").mkdir(parents=True)

    monkeypatch.setattr(raspberry_pi, "_unpack", unpack)
    monkeypatch.setattr(shutil, "which", lambda _: str(emulator))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: raspberry_pi.pi_root(), range(2))
    assert first == second
    assert len(unpacked) == 1
