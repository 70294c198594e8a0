"""Programs that work for us in a process of their own, run to their end.

One that fails, crashes or does not end is an ExportError, whose reason is the last line that the program said.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import tinyscene

from ..errors import ExportError

WORKERS = Path(__file__).resolve().parent / "workers"


def place_runtime(folder: Path) -> None:
    """Copy ``tinyscene.runtime``, all of this project that such a program may import, into a folder of its path."""
    home = Path(tinyscene.__file__).parent
    (folder / "tinyscene").mkdir()
    shutil.copy(home / "__init__.py", folder / "tinyscene")
    shutil.copytree(home / "runtime", folder / "tinyscene" / "runtime", ignore=shutil.ignore_patterns("__pycache__"))


def run_program(
    command: Sequence[str],
    where: str,
    fault: str = "failed",
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
    next_step: str = "",
    missing: bool = False,
) -> subprocess.CompletedProcess[str]:
    """What the program printed.

    Args:
        where: what messages call the program.
        fault: what it means that the program fails; ``next_step`` and ``missing`` go with it.
        folder: to run in; ours if left out, as with the ``environment``.

    Raises:
        ExportError: it failed, or ran longer than ``timeout_seconds``.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise ExportError(where, f"ran longer than {timeout_seconds} s") from None
    if done.returncode:
        said = last_line(done.stderr or done.stdout)
        got = said if done.returncode > 0 else f"{signal.Signals(-done.returncode).name}, having said: {said}"
        raise ExportError(where, fault, got=got, next_step=next_step, missing=missing)
    return done


def last_line(text: str) -> str:
    """The last line that is not empty, where programs say what was wrong."""
    return (text.strip().splitlines() or ["no message"])[-1]
