"""Several processes that train one network together, as torchrun starts them: who this one is, and what each does
alone.

    torchrun --nproc-per-node 4 -m tinyscene train RECIPE --data DIR --out RUN

A batch is split among them, so that the batches are those of a single process. Every process reads the data and keeps
the same weights; files are written by the first one, or by all alike.
"""

from __future__ import annotations

import os


def world_size() -> int:
    """How many there are; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which one this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return rank() == 0


def per_node() -> int:
    """How many there are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size())))
