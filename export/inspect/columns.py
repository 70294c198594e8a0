"""How the chain of rows is cut into columns, so that the picture has about the shape of a sheet in landscape.

Cuts are made where a single tensor passes, and inside a block only if no other cut exists.
"""

from __future__ import annotations

from collections.abc import Sequence

from .boxes import Box, block_names
from .rows import Grid

BOX_WIDTH, BOX_HEIGHT, END_HEIGHT, GROUP_HEIGHT = 250, 54, 40, 84
TRACK_GAP, LANE, LEVEL = 34, 15, 9
ARROW, STUB, LABEL, FRAME_PAD = 14, 8, 20, 10
COLUMN_GAP = 58  # between columns; the edge to the next column runs through this gap
ASPECT = 1.45  # width to height of the whole
MOST_COLUMNS = 60


def height_of(box: Box) -> int:
    """Pixels; a group lists its nodes, an input has one line less."""
    return GROUP_HEIGHT if box.parts else END_HEIGHT if box.kind == "end" else BOX_HEIGHT


class Blocks:
    """Which rows belong to a block, and its name."""

    def __init__(self, boxes: Sequence[Box], grid: Grid) -> None:
        names = block_names(boxes, grid.segments())
        members: dict[str, list[int]] = {}
        for at, name in enumerate(names):
            if name and boxes[at].kind != "end":
                members.setdefault(name, []).append(at)
        nodes = sum(box.kind != "end" for box in boxes)
        self.members: dict[str, list[int]] = {}
        self.rows: dict[str, range] = {}
        for name, inside in members.items():
            rows = range(min(grid.rows[at] for at in inside), 1 + max(grid.rows[at] for at in inside))
            alone = sum(row in rows for row in grid.rows) == len(inside)
            if 1 < len(inside) < nodes and alone:
                self.members[name], self.rows[name] = inside, rows

    def starting_at(self, row: int) -> str:
        return next((name for name, rows in self.rows.items() if rows.start == row), "")

    def ending_at(self, row: int) -> bool:
        return any(rows.stop == row + 1 for rows in self.rows.values())

    def cut_by(self, gap: int) -> bool:
        return any(rows.start <= gap < rows.stop - 1 for rows in self.rows.values())


def column_rows(boxes: Sequence[Box], grid: Grid, blocks: Blocks) -> list[range]:
    """The rows of each column."""
    heights_with_gaps = [height + STUB + ARROW + LEVEL for height in row_heights(boxes, grid)]
    necks = sorted(grid.necks)
    cuts = [gap for gap in necks if not blocks.cut_by(gap)] or necks
    ends = [gap + 1 for gap in cuts] + [grid.n_rows]
    parts = [range(start, stop) for start, stop in zip([0, *ends], ends, strict=False)]
    heights = [sum(heights_with_gaps[row] for row in part) for part in parts]
    tracks = 1 + max(grid.tracks, default=0)
    column_width = tracks * (BOX_WIDTH + TRACK_GAP) + COLUMN_GAP
    best: tuple[float, list[range]] = (float("inf"), [])
    for count in range(1, min(MOST_COLUMNS, len(parts)) + 1):
        filled = _fill(parts, heights, count)
        tallest = max(sum(heights_with_gaps[row] for row in rows) for rows in filled)
        ratio = len(filled) * column_width / tallest / ASPECT
        best = min(best, (max(ratio, 1 / ratio), filled), key=lambda choice: choice[0])
    return best[1]


def row_heights(boxes: Sequence[Box], grid: Grid) -> list[int]:
    """Of the rows, without the gaps."""
    heights = [0] * grid.n_rows
    for row, box in zip(grid.rows, boxes, strict=True):
        heights[row] = max(heights[row], height_of(box))
    return heights


def _fill(parts: list[range], heights: list[int], count: int) -> list[range]:
    """The parts in at most ``count`` columns whose tallest is as low as possible."""
    low, high = max(heights), sum(heights)
    while low < high:
        limit = (low + high) // 2
        low, high = (low, limit) if len(_filled(parts, heights, limit)) <= count else (limit + 1, high)
    return _filled(parts, heights, low)


def _filled(parts: list[range], heights: list[int], limit: int) -> list[range]:
    columns: list[range] = []
    used = limit + 1
    for part, height in zip(parts, heights, strict=True):
        if used + height > limit:
            columns.append(part)
            used = height
        else:
            columns[-1] = range(columns[-1].start, part.stop)
            used += height
    return columns
