"""Where everything is drawn, in pixels: boxes in their columns, edges between them, frames around blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .boxes import Box, Edge
from .columns import (
    ARROW,
    BOX_WIDTH,
    COLUMN_GAP,
    FRAME_PAD,
    LABEL,
    LANE,
    LEVEL,
    STUB,
    TRACK_GAP,
    Blocks,
    column_rows,
    height_of,
    row_heights,
)
from .routes import ENTRY, Channels, Crossing, Wire, levels, ports
from .rows import Grid, grid_of

Point = tuple[float, float]


@dataclass(frozen=True)
class Placed:
    """A box with its upper left corner and its size."""

    box: Box
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True)
class Route:
    """The corners of an edge, from the lower side of its source to the upper side of its target."""

    edge: Edge
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Frame:
    """A rectangle around the boxes of a block. ``label_x``: where its name begins, right of all lanes."""

    name: str
    label_x: float
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """Everything in its place; the size is that of the drawing without title and legend."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    routes: tuple[Route, ...]
    frames: tuple[Frame, ...]


def lay_out(boxes: Sequence[Box], edges: Sequence[Edge]) -> Layout:
    """Places for all boxes, in the order of ``boxes``, and ways for all edges, in the order of ``edges``."""
    grid = grid_of(len(boxes), edges)
    blocks = Blocks(boxes, grid)
    columns: list[_Column] = []
    x = 0.0
    for rows in column_rows(boxes, grid, blocks):
        columns.append(_Column(boxes, grid, blocks, rows, x))
        x = columns[-1].right + COLUMN_GAP
    placed = {at: box for column in columns for at, box in column.placed.items()}
    routes = []
    for edge in edges:
        number = next(n for n, column in enumerate(columns) if edge.target in column.placed)
        points = columns[number].points(edge)
        if edge.source not in columns[number].placed:
            points = [*_to_next_column(columns[number - 1], placed[edge.source]), *points]
        routes.append(Route(edge, tuple(_without_repeats(points))))
    height = max((column.bottom for column in columns), default=0.0)
    frames = tuple(frame for column in columns for frame in column.frames())
    width = columns[-1].right if columns else 0.0
    return Layout(width, height, tuple(placed[at] for at in range(len(boxes))), tuple(routes), frames)


def _to_next_column(column: _Column, source: Placed) -> list[Point]:
    """From a box at the end of a column up to the height where the next column begins."""
    below, gutter = column.bottom - STUB, column.right + COLUMN_GAP / 2
    return [(source.middle, source.bottom), (source.middle, below), (gutter, below), (gutter, STUB)]


def _without_repeats(points: list[Point]) -> list[Point]:
    """The corners alone: no point twice, none on a straight line between its neighbours."""
    kept: list[Point] = []
    for point in points:
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and (kept[-2][0] == kept[-1][0] == point[0] or kept[-2][1] == kept[-1][1] == point[1]):
            kept[-1] = point
        else:
            kept.append(point)
    return kept


class _Column:
    """One column: the boxes of some rows, and the ways between them. ``x``: its left end."""

    def __init__(self, boxes: Sequence[Box], grid: Grid, blocks: Blocks, rows: range, x: float) -> None:
        self.grid, self.blocks, self.rows, self.x = grid, blocks, rows, x
        members = [at for at, row in enumerate(grid.rows) if row in rows]
        self.channels = Channels({(grid.rows[at] - rows.start, grid.tracks[at]): at for at in members})
        wires = [self._wire(edge) for edge in grid.edges if grid.rows[edge.target] in rows]
        long = [wire for wire in wires if wire.target_row > wire.source_row + 1]
        long.sort(key=lambda wire: wire.target_row - wire.source_row)
        self.ways = {wire: self.channels.way(wire) for wire in long}
        self.first_track = x + FRAME_PAD + LANE * len(self.channels.lanes)
        tracks = 1 + max(grid.tracks[at] for at in members)
        self.right = self.first_track + tracks * BOX_WIDTH + (tracks - 1) * TRACK_GAP + FRAME_PAD
        self.enter = self._ports(wires)
        self.levels, self.tops = self._gaps(boxes, wires)
        self.placed = {
            at: Placed(
                boxes[at],
                self.track_x(grid.tracks[at]) - BOX_WIDTH / 2,
                self.tops[grid.rows[at] - rows.start],
                BOX_WIDTH,
                height_of(boxes[at]),
            )
            for at in members
        }

    def _wire(self, edge: Edge) -> Wire:
        source_row = self.grid.rows[edge.source] - self.rows.start
        target_row = self.grid.rows[edge.target] - self.rows.start
        inside = source_row >= 0
        return Wire(
            edge.source if inside else ENTRY,
            edge.target,
            max(source_row, -1),
            target_row,
            self.grid.tracks[edge.source] if inside else 0,
            self.grid.tracks[edge.target],
        )

    def track_x(self, track: int) -> float:
        """The middle of a track."""
        return self.first_track + BOX_WIDTH / 2 + track * (BOX_WIDTH + TRACK_GAP)

    def _down_x(self, wire: Wire) -> float:
        """Where the edge arrives above its target."""
        way = self.ways.get(wire)
        if way is None:
            return self.track_x(wire.source_track)
        return self.track_x(int(way)) if way >= 0 else self.first_track - LANE * (0.5 - 1 - way)

    def _ports(self, wires: list[Wire]) -> dict[Wire, float]:
        placed: dict[Wire, float] = {}
        for target in {wire.target for wire in wires}:
            arriving = {wire: self._down_x(wire) for wire in wires if wire.target == target}
            track, above = self.grid.tracks[target], self.grid.rows[target] - self.rows.start - 1
            free = (above, track) not in self.channels.boxes and (above >= 0 or track > 0)
            placed |= ports(arriving, self.track_x(track), BOX_WIDTH / 2 - 12, free=free)
        return placed

    def _gaps(self, boxes: Sequence[Box], wires: list[Wire]) -> tuple[dict[tuple[Wire, int], float], list[float]]:
        """Heights of the horizontal parts, by wire and phase, and of the rows."""
        at_y: dict[tuple[Wire, int], float] = {}
        tops: list[float] = []
        heights = row_heights(boxes, self.grid)
        y = 0.0
        for gap in range(-1, len(self.rows)):
            chosen, count = levels(self._crossings(gap, wires))
            row = self.rows.start + gap
            if gap >= 0:
                y = tops[-1] + heights[row]
            start = y + STUB + (FRAME_PAD if gap >= 0 and self.blocks.ending_at(row) else 0)
            if gap < 0 and self.rows.start:
                start += STUB  # the edge from the column before runs here
            at_y |= {key: start + LEVEL * level for key, level in chosen.items()}
            framed = gap + 1 < len(self.rows) and self.blocks.starting_at(row + 1)
            y = start + LEVEL * max(count - 1, 0) + (STUB + LABEL if framed else 0) + ARROW
            if gap < 0 and not self.rows.start:
                y = STUB + LABEL if framed else STUB
            tops.append(y)
        self.bottom = tops.pop()
        return at_y, tops

    def _crossings(self, gap: int, wires: list[Wire]) -> list[Crossing]:
        crossings = []
        for wire in wires:
            source_x, down_x, port_x = self.track_x(wire.source_track), self._down_x(wire), self.enter[wire]
            if wire.source_row == gap and source_x != down_x:
                crossings.append(Crossing(wire, source_x, down_x, 0))
            if wire.target_row - 1 == gap and down_x != port_x:
                crossings.append(Crossing(wire, down_x, port_x, 1))
        return crossings

    def points(self, edge: Edge) -> list[Point]:
        """The corners inside this column."""
        wire = self._wire(edge)
        x, down_x, port_x = self.track_x(wire.source_track), self._down_x(wire), self.enter[wire]
        points: list[Point] = [(x, self.placed[edge.source].bottom if wire.source != ENTRY else STUB)]
        if (wire, 0) in self.levels:
            points += [(x, self.levels[wire, 0]), (down_x, self.levels[wire, 0])]
        if (wire, 1) in self.levels:
            points += [(down_x, self.levels[wire, 1]), (port_x, self.levels[wire, 1])]
        return [*points, (port_x, self.placed[edge.target].y)]

    def frames(self) -> list[Frame]:
        """Around the blocks of this column."""
        frames = []
        for name, members in self.blocks.members.items():
            inside = [self.placed[at] for at in members if at in self.placed]
            if len(inside) != len(members):
                continue
            left = self.x if self.channels.lanes else min(box.x for box in inside) - FRAME_PAD
            top = min(box.y for box in inside) - ARROW - LABEL + 4
            right, bottom = max(box.x + box.width for box in inside), max(box.bottom for box in inside)
            frames.append(
                Frame(
                    name,
                    min(box.x for box in inside),
                    left,
                    top,
                    right + FRAME_PAD - left,
                    bottom + FRAME_PAD - 3 - top,
                )
            )
        return frames
