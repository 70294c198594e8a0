"""Structured width search: CP-Mobile sizes that fill a budget of bytes and MACs, similar in shape to a published one.

Exhaustive over a grid: base channels 8 to 96 in steps of 8, multipliers 1 to 3 by 0.05, expansion rates 1 to 4 by 0.1,
and frequency and time each halved in at most two of the six blocks. The fill of a network is the smaller of its shares
of the two limits. Candidates are within five percentage points of the highest fill; the most similar shape is the best.
The distance, in octaves, is that of the multipliers plus that of the expansion rates plus the mean distance of the
feature maps after each block in frequency and time. Accuracy is not estimated. Refuses budgets that no network of the
grid satisfies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from tinyscene.runtime.arrays import F64
from tinyscene.runtime.spec import Budget, FrontendSpec

from ..errors import TrainingError
from ..models.config import ModelConfig
from ..models.sizes import BLOCKS, Maps, Strides, Widths, int8_costs

BASES = tuple(range(8, 97, 8))  # channels are multiples of eight
MULTIPLIERS = tuple(i / 100 for i in range(100, 301, 5))
EXPANSIONS = tuple(i / 10 for i in range(10, 41))
HALVINGS = 2  # at most, per axis; the published networks have one or two
FULL = 0.05  # maximum difference to the highest fill, as a share of the budget


@dataclass(frozen=True)
class Candidate:
    """A network within the budget; ``fill`` is the smaller share of the two limits, ``distance`` is in octaves."""

    config: ModelConfig
    n_bytes: int
    macs: int
    fill: float
    distance: float


def fit_budget(
    like: ModelConfig, frontend: FrontendSpec, budget: Budget, *, n_classes: int = 10, count: int = 5
) -> tuple[Candidate, ...]:
    """The ``count`` best networks within ``budget``, best first; raises TrainingError if none satisfies it."""
    configs, widths, width_distance = distinct_widths(like)
    placements = stride_placements()
    maps = Maps.of(placements, frontend)
    n_bytes, macs = int8_costs(widths, maps, grn=like.grn, n_classes=n_classes)
    fits = (n_bytes <= budget.max_bytes) & (macs <= budget.max_macs)
    if not fits.any():
        raise TrainingError(
            "budget",
            "no CP-Mobile of the grid satisfies it",
            expected=f"{n_bytes.min():,} B and {macs.min():,} MACs or more",
            got=f"{budget.max_bytes:,} B and {budget.max_macs:,} MACs",
            next_step="raise the limits",
        )
    fill = np.where(fits, np.minimum(n_bytes / budget.max_bytes, macs / budget.max_macs), 0.0)
    distance = width_distance[:, None] + map_distance(like, maps, frontend)
    full = np.argwhere(fill >= fill.max() - FULL)
    nearest = np.lexsort((-fill[tuple(full.T)], distance[tuple(full.T)]))
    candidates = []
    for i, column in full[nearest[:count]].tolist():
        config = configs[i].model_copy(update={"strides": dict(placements[column]), "n_classes": n_classes})
        cost = int(n_bytes[i, column]), int(macs[i, column])
        candidates.append(Candidate(config, *cost, float(fill[i, column]), float(distance[i, column])))
    return tuple(candidates)


def distinct_widths(like: ModelConfig) -> tuple[list[ModelConfig], Widths, F64]:
    """Networks of the grid with distinct widths, each with the sizes nearest to ``like``, and their distances."""
    configs = [
        like.model_copy(update={"base_channels": base, "channels_multiplier": mult, "expansion_rate": expansion})
        for base, mult, expansion in product(BASES, MULTIPLIERS, EXPANSIONS)
    ]
    ratios = np.array([(c.channels_multiplier, c.expansion_rate) for c in configs])
    distance = np.abs(np.log2(ratios / (like.channels_multiplier, like.expansion_rate))).sum(axis=1)
    order = np.argsort(distance, kind="stable")
    widths = Widths.of([configs[i] for i in order])
    _, first = np.unique(np.hstack([widths.channels, widths.expanded]), axis=0, return_index=True)
    chosen = order[first]
    return [configs[i] for i in chosen], Widths(widths.channels[first], widths.expanded[first]), distance[chosen]


def stride_placements() -> list[Strides]:
    """Every placement of at most :data:`HALVINGS` halvings each of frequency and time."""
    blocks = [chosen for n in range(HALVINGS + 1) for chosen in combinations(BLOCKS, n)]
    return [_strides(freq, time) for freq, time in product(blocks, blocks)]


def map_distance(like: ModelConfig, maps: Maps, frontend: FrontendSpec) -> F64:
    """Distance in octaves, (m,), between the feature maps of each placement and those of ``like``, mean over blocks."""
    own = Maps.of([like.strides], frontend)
    octaves: F64 = np.abs(np.log2(maps.freq / own.freq)) + np.abs(np.log2(maps.time / own.time))
    distance: F64 = octaves[-len(BLOCKS) :].mean(axis=0)
    return distance


def _strides(freq: Sequence[str], time: Sequence[str]) -> Strides:
    return {b: (1 + (b in freq), 1 + (b in time)) for b in BLOCKS if b in (*freq, *time)}
