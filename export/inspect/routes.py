"""The ways of the edges through one column of the picture.

Boxes are in rows and tracks with gaps between the rows. An edge leaves the middle of a box, runs across in a gap, down
a lane that is free of boxes, and across in the gap above its target, so that no edge crosses a box. Edges of one source
may share their way; edges of different sources never run on top of each other in a lane or a gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .boxes import overlap

ENTRY = -1  # the source of edges that come from the column before; its row is -1 and its track 0

Level = tuple[int, float, float, int]  # level, from x, to x, source


@dataclass(frozen=True)
class Wire:
    """An edge inside a column. Rows count from the column's first; ``source`` may be :data:`ENTRY`."""

    source: int
    target: int
    source_row: int
    target_row: int
    source_track: int
    target_track: int


@dataclass
class Channels:
    """Lanes and levels of one column as they are handed out."""

    boxes: dict[tuple[int, int], int]  # (row, track) to the position of the box
    lanes: list[list[tuple[range, int]]] = field(default_factory=list)  # left of track 0: gaps and source of each user
    tracks: list[tuple[int, range, int]] = field(default_factory=list)  # wires in tracks: track, gaps, source

    def way(self, wire: Wire) -> float:
        """Where the wire goes down: a track as a whole number, or lane n as -1 - n."""
        gaps = range(wire.source_row, wire.target_row)
        for track, own_end in ((wire.source_track, wire.source_row), (wire.target_track, wire.target_row)):
            rows = (row for row in range(wire.source_row, wire.target_row + 1) if row != own_end)
            shared = any(
                used == track and source != wire.source and overlap(gaps, span) for used, span, source in self.tracks
            )
            if not shared and not any((row, track) in self.boxes for row in rows):
                self.tracks.append((track, gaps, wire.source))
                return track
        for number, users in enumerate(self.lanes):
            if all(source == wire.source or not overlap(gaps, span) for span, source in users):
                users.append((gaps, wire.source))
                return -1 - number
        self.lanes.append([(gaps, wire.source)])
        return -len(self.lanes)


@dataclass(frozen=True)
class Crossing:
    """A horizontal part of an edge in a gap; ``phase`` orders what leaves a box before what enters one."""

    wire: Wire
    from_x: float
    to_x: float
    phase: int


def levels(crossings: Iterable[Crossing]) -> tuple[dict[tuple[Wire, int], int], int]:
    """The level of each crossing of one gap, from the top, by wire and phase; and the number of levels."""
    placed: list[Level] = []
    chosen: dict[tuple[Wire, int], int] = {}
    ordered = sorted(crossings, key=lambda c: (c.phase, abs(c.to_x - c.from_x), c.wire.source, c.wire.target))
    for crossing in ordered:
        low, high = sorted((crossing.from_x, crossing.to_x))
        others = [
            level
            for level, other_low, other_high, source in placed
            if source != crossing.wire.source and low <= other_high and other_low <= high
        ]
        level = 1 + max(others, default=-1)
        placed.append((level, low, high, crossing.wire.source))
        chosen[crossing.wire, crossing.phase] = level
    return chosen, 1 + max(chosen.values(), default=-1)


def ports(approaches: dict[Wire, float], middle: float, half_width: float, *, free: bool) -> dict[Wire, float]:
    """Where each edge enters its box: one from above in the middle, others left and right of it in their order.

    ``free``: no edge of a box right above runs in the middle, so that one from the side may.
    """
    if len(approaches) == 1 and free:
        return dict.fromkeys(approaches, middle)
    straight = next((wire for wire, x in approaches.items() if x == middle), None)
    left = sorted((w for w, x in approaches.items() if x <= middle and w != straight), key=lambda w: -approaches[w])
    right = sorted((w for w, x in approaches.items() if x > middle), key=lambda w: approaches[w])
    step = min(36.0, half_width / (1 + max(len(left), len(right))))
    placed = {} if straight is None else {straight: middle}
    placed |= {wire: middle - step * n for n, wire in enumerate(left, start=1)}
    return placed | {wire: middle + step * n for n, wire in enumerate(right, start=1)}
