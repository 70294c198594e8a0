"""Rows and tracks of the picture: which box is drawn beneath which, and which beside.

A box is one row below the lowest box that it reads from (longest-path layering, the first step of Sugiyama, Tagawa and
Toda 1981). The longest path runs down track 0; every other branch gets a track to its right that is free in all rows
from its fork to its join, so that its way to the join is a straight line. Written here because the layout libraries on
the package index either need the Graphviz program (pydot, pygraphviz) or have not been maintained for years
(grandalf), and networks are chains with few branches, which need a fraction of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from .boxes import Edge, overlap


@dataclass(frozen=True)
class Grid:
    """``rows`` and ``tracks`` of the boxes by their position; ``edges`` lead to a later box and a lower row."""

    rows: tuple[int, ...]
    tracks: tuple[int, ...]
    edges: tuple[Edge, ...]

    @property
    def n_rows(self) -> int:
        return 1 + max(self.rows, default=-1)

    @cached_property
    def necks(self) -> frozenset[int]:
        """Gaps (each below the row of its number) that nothing passes but the output of one box right above it."""
        last_readers: dict[int, int] = {}
        for edge in self.edges:
            last_readers[edge.source] = max(last_readers.get(edge.source, 0), self.rows[edge.target])
        changes, written = Counter[int](), Counter[int]()
        for source, last in last_readers.items():
            changes[self.rows[source]] += 1
            changes[last] -= 1
            written[self.rows[source]] += 1
        passing = accumulate(changes[row] for row in range(self.n_rows - 1))
        return frozenset(gap for gap, count in enumerate(passing) if count == 1 and written[gap] == 1)

    def segments(self) -> list[list[int]]:
        """Boxes between a fork and its join, both necks, where several boxes lie between them."""
        arrivals = Counter(edge.target for edge in self.edges)
        in_row: dict[int, list[int]] = {}
        for box, row in enumerate(self.rows):
            in_row.setdefault(row, []).append(box)
        segments = []
        necks = sorted(self.necks)
        for above, below in zip([-1, *necks], necks, strict=False):
            inside = [box for row in range(above + 1, below + 1) for box in in_row.get(row, [])]
            if len(inside) > 1 and any(arrivals[box] > 1 for box in inside):
                segments.append(inside)
        return segments


def grid_of(n_boxes: int, edges: Sequence[Edge]) -> Grid:
    """Row and track of each of ``n_boxes`` boxes."""
    rows = _rows(n_boxes, edges)
    return Grid(tuple(rows), tuple(_tracks(rows, edges)), tuple(edges))


def _rows(n_boxes: int, edges: Sequence[Edge]) -> list[int]:
    rows = [0] * n_boxes
    for edge in sorted(edges, key=lambda edge: edge.source):  # sources come before targets
        rows[edge.target] = max(rows[edge.target], rows[edge.source] + 1)
    written = {edge.target for edge in edges}
    for box in range(n_boxes):  # what reads nothing is drawn right above its first reader
        readers = [rows[edge.target] for edge in edges if edge.source == box]
        if box not in written and readers:
            rows[box] = min(readers) - 1
    return rows


def _tracks(rows: list[int], edges: Sequence[Edge]) -> list[int]:
    tracks = [-1] * len(rows)
    for box in _longest_path(rows, edges):
        tracks[box] = 0
    taken: list[list[range]] = []  # of the tracks from 1 on: rows
    for box in sorted(range(len(rows)), key=lambda box: (rows[box], box)):
        if tracks[box] >= 0:
            continue
        chain = _chain(box, rows, tracks, edges)
        joins = [rows[edge.target] - 1 for edge in edges if edge.source == chain[-1]]
        needed = range(rows[box], max([rows[chain[-1]], *joins]) + 1)
        free = (at for at, spans in enumerate(taken) if not any(overlap(needed, span) for span in spans))
        track = next(free, len(taken))
        if track == len(taken):
            taken.append([])
        taken[track].append(needed)
        for member in chain:
            tracks[member] = track + 1
    return tracks


def _longest_path(rows: list[int], edges: Sequence[Edge]) -> list[int]:
    """A path with a box in every row; sums are followed back through their first input that allows it."""
    if not rows:
        return []
    path = [rows.index(max(rows))]
    while True:
        above = [edge.source for edge in edges if edge.target == path[-1] and rows[edge.source] == rows[path[-1]] - 1]
        if not above:
            return path
        path.append(above[0])


def _chain(box: int, rows: list[int], tracks: list[int], edges: Sequence[Edge]) -> list[int]:
    """The box and those below it that can stay on its track."""
    chain = [box]
    while True:
        below = [edge.target for edge in edges if edge.source == chain[-1] and tracks[edge.target] < 0]
        below = [target for target in below if rows[target] == rows[chain[-1]] + 1]
        if not below:
            return chain
        chain.append(below[0])
