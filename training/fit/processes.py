"""Rank and number of the processes that train one network together, as torchrun starts them.

    torchrun --nproc-per-node 4 -m tinyscene train RECIPE --data DIR --out RUN

Each batch is split among the processes, so that batches equal those of a single process. Every process reads the data
and holds the same weights; files are written by the first process, or identically by all.
"""

from __future__ import annotations

import os
import signal
import threading
import time

POLL_SECONDS = 1.0


def world_size() -> int:
    """Number of processes; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Index of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process prints messages and writes files."""
    return rank() == 0


def end_with_launcher() -> None:
    """Terminate this process when torchrun, which started it, is gone; torchrun does so itself unless it was killed."""
    if world_size() > 1:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def per_node() -> int:
    """Number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size())))
