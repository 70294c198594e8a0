"""The picture of a network as one SVG file: boxes by kind of op, edges, frames around blocks, title and legend.

The file is self-contained and draws its own white sheet, so that it reads the same on a light page, on a dark one and
on paper. All text from the model is escaped; text that is too long for its place is cut, and whole in the box's hint.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from rich.cells import cell_len

from tinyscene.runtime.printable import printable
from tinyscene.runtime.terminal import end_of

from ..errors import ExportError
from .boxes import KINDS, Box, Kind, boxes_of, edges_of
from .columns import BOX_WIDTH
from .layout import Frame, Layout, Placed, Route, lay_out
from .records import Inspection, shape_text

MARGIN, RADIUS, STRIPE = 26, 5, 6
TITLE_HEIGHT, LEGEND_ROW = 58, 20
MOST_NODES = 2000
LEAST_WIDTH = 560  # room for the title
# Widths of characters in em, on the wide side: fonts differ from reader to reader.
MONO, SANS = 0.62, 0.58
COLOURS: dict[Kind, tuple[str, str]] = {  # stripe, fill
    "conv": ("#2a6fb5", "#eaf2fa"),
    "depthwise": ("#d07a1f", "#fdf2e6"),
    "linear": ("#1d8a99", "#e6f5f7"),
    "recurrent": ("#7a4a2b", "#f6efe9"),
    "sum": ("#2c8f5f", "#e8f6ee"),
    "product": ("#8a4bab", "#f5ecf9"),
    "mean": ("#c2456a", "#fbebf0"),
    "table": ("#857a22", "#f7f5e2"),
    "norm": ("#5b4fc4", "#efedfb"),
    "shape": ("#6b7680", "#f1f3f4"),
    "other": ("#444c54", "#eceeef"),
    "end": ("#111820", "#ffffff"),
}
STYLE = (
    "text{font-family:'DejaVu Sans',Verdana,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1b2229;font-size:10.5px}"
    ".mono{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:10px;fill:#3d4750}"
    ".op{font-weight:700;font-size:12px}.quiet{fill:#59646e}.title{font-size:16px;font-weight:700}"
    ".edge{fill:none;stroke:#59646e;stroke-width:1.3}"
    ".block{fill:#f7f9fa;stroke:#c3cbd2;stroke-dasharray:4 3}.label{font-size:10.5px;font-weight:700;fill:#59646e}"
    ".box{stroke-width:1}.end{text-anchor:end}"
)


def to_svg(model: Inspection) -> str:
    """The picture as SVG text; raises ExportError for a model of more nodes than a picture can show."""
    if len(model.nodes) > MOST_NODES:
        next_step = "use the table or --json"
        expected = f"at most {MOST_NODES:,} nodes"
        raise ExportError(
            model.model, "too large for a picture", expected=expected, got=f"{len(model.nodes):,}", next_step=next_step
        )
    boxes = boxes_of(model)
    layout = lay_out(boxes, edges_of(boxes))
    inner = max(layout.width, LEAST_WIDTH)
    legend, legend_height = _legend(boxes, inner)
    top = TITLE_HEIGHT + legend_height + 14
    width, height = inner + 2 * MARGIN, top + layout.height + 2 * MARGIN
    title, totals = _title(model), _totals(model)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>{_text(title)}</title>",
        f"<desc>{_text('; '.join(totals))}</desc>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tinyscene-arrow" viewBox="0 0 8 8" refX="7.2" refY="4" markerWidth="6.5" markerHeight="6.5" '
        'orient="auto"><path d="M0,0.6L8,4L0,7.4z" fill="#59646e"/></marker></defs>',
        f'<rect class="sheet" width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        f'<g transform="translate({MARGIN} {MARGIN})">',
        f'<text class="title" x="0" y="14">{_text(_fit(title, inner, 16, SANS))}</text>',
        *(
            f'<text class="quiet" x="0" y="{34 + 16 * n}">{_text(_fit(line, inner, 10.5, SANS))}</text>'
            for n, line in enumerate(totals)
        ),
        f'<g transform="translate(0 {TITLE_HEIGHT})">',
        *legend,
        "</g>",
        f'<g transform="translate({max(0.0, (inner - layout.width) / 2):g} {top:g})">',
        *_network(boxes, layout),
        "</g></g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _title(model: Inspection) -> str:
    return f"{model.model.rstrip('/').rsplit('/', 1)[-1]}: {model.source}"


def _totals(model: Inspection) -> list[str]:
    counted = f"{_plural(len(model.nodes), 'node')}, {model.parameters:,} parameters in {model.parameter_bytes:,} B, "
    counted += f"{model.macs:,} MACs ({model.rule} rule)"
    if model.uncounted:
        counted += f", {_plural(len(model.uncounted), 'node')} not counted"
    ends = [f"input {shape_text(tensor.shape)} {tensor.dtype}" for tensor in model.inputs]
    if model.labels:
        ends.append(_plural(len(model.labels), "label"))
    if model.arena_bytes is not None:
        ends.append(f"arena {model.arena_bytes:,} B node by node")
    if model.firmware is not None:
        calls = f"{_plural(model.firmware.calls, 'call')} ({model.firmware.cpu} kernels)"
        ends.append(f"{model.firmware.arena_bytes:,} B in {calls}")
    return [counted, ", ".join(ends)]


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _legend(boxes: tuple[Box, ...], width: float) -> tuple[list[str], float]:
    """One key per kind that occurs, in as many lines as the width needs; and their height."""
    parts: list[str] = []
    x, y = 0.0, 0.0
    for kind, words in KINDS.items():
        count = sum(box.kind == kind for box in boxes)
        if not count:
            continue
        label = words if kind == "end" else f"{words} ({count})"
        step = 30 + len(label) * 10.5 * SANS
        if x and x + step > width:
            x, y = 0.0, y + LEGEND_ROW
        stripe, fill = COLOURS[kind]
        parts.append(f'<rect x="{x:g}" y="{y + 2:g}" width="14" height="12" rx="2" fill="{fill}" stroke="{stripe}"/>')
        parts.append(f'<rect x="{x:g}" y="{y + 2:g}" width="4" height="12" fill="{stripe}"/>')
        parts.append(f'<text x="{x + 20:g}" y="{y + 12:g}">{label}</text>')
        x += step
    return parts, y + LEGEND_ROW


def _network(boxes: tuple[Box, ...], layout: Layout) -> Iterator[str]:
    for frame in layout.frames:
        yield from _frame(frame)
    for route in layout.routes:
        yield _edge(boxes, route)
    for placed in layout.boxes:
        yield from _box(placed)


def _frame(frame: Frame) -> Iterator[str]:
    where = f'x="{frame.x:g}" y="{frame.y:g}" width="{frame.width:g}" height="{frame.height:g}"'
    yield f'<rect class="block" {where} rx="7"/>'
    label = _fit(printable(frame.name), BOX_WIDTH / 2 - 10, 10.5, SANS + 0.08)
    yield f'<text class="label" x="{frame.label_x:g}" y="{frame.y + 14:g}">{_text(label)}</text>'


def _edge(boxes: tuple[Box, ...], route: Route) -> str:
    ends = f'data-from="{boxes[route.edge.source].key}" data-to="{boxes[route.edge.target].key}"'
    return f'<path class="edge" {ends} d="{_rounded(route.points)}" marker-end="url(#tinyscene-arrow)"/>'


def _rounded(points: tuple[tuple[float, float], ...]) -> str:
    """A line through right-angled corners, rounded as far as the parts between them allow."""
    words = [f"M{points[0][0]:g},{points[0][1]:g}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(RADIUS, _distance(before, corner) / 2, _distance(corner, after) / 2)
        (x1, y1), (x2, y2) = (_towards(corner, end, radius) for end in (before, after))
        words.append(f"L{x1:g},{y1:g}Q{corner[0]:g},{corner[1]:g} {x2:g},{y2:g}")
    return "".join(words) + f"L{points[-1][0]:g},{points[-1][1]:g}"


def _distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _towards(start: tuple[float, float], end: tuple[float, float], length: float) -> tuple[float, float]:
    share = length / (_distance(start, end) or 1.0)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _box(placed: Placed) -> Iterator[str]:
    box, (stripe, fill) = placed.box, COLOURS[placed.box.kind]
    x, y, wide, high = placed.x, placed.y, placed.width, placed.height
    yield f'<g class="node" id="{box.key}"><title>{_text(box.hint)}</title>'
    radius = high / 2 if box.kind == "end" else 4
    where = f'x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="{radius:g}"'
    yield f'<rect class="box" {where} fill="{fill}" stroke="{stripe}"/>'
    left, right = x + 14, x + wide - 8
    if box.kind == "end":
        left, right = x + 20, x + wide - 20
    else:
        yield f'<rect x="{x:g}" y="{y:g}" width="{STRIPE}" height="{high:g}" rx="2" fill="{stripe}"/>'
        yield f'<text class="quiet end" x="{right:g}" y="{y + 16:g}">{box.number}</text>'
    room = right - left - (len(box.number) * 10.5 * SANS + 8)
    title = _fit(box.title, room, 12, SANS + 0.08)
    detail = _fit(box.detail, room - len(title) * 12 * (SANS + 0.08), 10.5, SANS)
    yield f'<text x="{left:g}" y="{y + 16:g}"><tspan class="op">{_text(title)}</tspan> {_text(detail)}</text>'
    if box.kind == "end":
        name = _fit(box.name, (right - left) - len(box.shape) * 10.5 * SANS - 10, 10, MONO)
        yield f'<text class="mono" x="{left:g}" y="{y + 31:g}">{_text(name)}</text>'
        yield f'<text class="end" x="{right:g}" y="{y + 31:g}">{box.shape}</text>'
    else:
        yield f'<text class="mono" x="{left:g}" y="{y + 31:g}">{_text(_fit(box.name, right - left, 10, MONO))}</text>'
        yield from _parts(box, left, y + 46)
        yield f'<text x="{left:g}" y="{y + high - 8:g}">{box.shape}</text>'
        yield f'<text class="end quiet" x="{right:g}" y="{y + high - 8:g}">{box.cost}</text>'
    yield "</g>"


def _parts(box: Box, x: float, y: float) -> Iterator[str]:
    """The nodes of a group, in two lines."""
    half = -(-len(box.parts) // 2)
    for n, line in enumerate((box.parts[:half], box.parts[half:])):
        spans = ", ".join(f'<tspan data-node="{number}">{_text(part)}</tspan>' for number, part in line)
        if spans:
            yield f'<text class="quiet" style="font-size:9px" x="{x:g}" y="{y + 11 * n:g}">{spans}</text>'


def _fit(text: str, width: float, size: float, em: float) -> str:
    """The text, with its middle cut out where it is longer than ``width`` pixels at ``size`` pixels a line."""
    most = max(int(width / (size * em)), 1)
    if cell_len(text) <= most:
        return text
    head = text[: (most - 1) // 3]
    while cell_len(head) > (most - 1) // 3:  # characters of some scripts are twice as wide
        head = head[:-1]
    return head + end_of(text, most - cell_len(head))


def _text(text: str) -> str:
    """Text for XML: control characters made visible, markup escaped."""
    return escape(printable(text))
