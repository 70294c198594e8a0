"""The report's drawings as SVG text, one function each, built from the parts in :mod:`tinyscene.training.page.svg`.

Our own SVG and not a plotting library: the page is one self-contained file without scripts, marks take the page's
colours (light and dark), each mark has its value as a tooltip and each drawing a description for screen readers, text
stays text in two widths, and no plotting library becomes a dependency of ``export``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tinyscene.training.page.svg import CHARACTER_WIDTH, Panel, escaped, frame, line, rect, svg, text, ticks

from .firmware_cost import Profile
from .records import AccuracyRow, LayerRow, Memory
from .sections import devices, heaviest

LEFT, RIGHT = 52, 10  # labels of the y axis; margin
SQNR_TOP_DB = 60.0  # int8 is rarely better; higher values touch the edge
MARKS = 6  # shapes in `mark`


def amount(value: float) -> str:
    """Short form of a count: 1.2 M, 98 k, 7."""
    for factor, unit in ((1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:g}"


def _step_labels(panel: Panel) -> list[str]:
    """Numbers of the steps below a panel whose x axis counts steps."""
    steps = [s for s in ticks(panel.x_top, 10 if panel.width > 500 else 5) if s < panel.x_top]
    return [text(panel.x(s + 0.5), panel.bottom + 16, f"{s:g}", "middle") for s in steps if s == int(s)]


def layer_profile(rows: Sequence[LayerRow], width: int) -> str:
    """MACs, bytes and SQNR of each step, in three panels."""
    height, gap, top = 92, 46, 24
    parts: list[str] = []
    panel = _panel(width, top, height, rows[-1].step + 1, max(r.macs for r in rows))
    parts += frame(panel, "MACs", amount, 4) + _bars(panel, rows, lambda r: r.macs, "MAC")
    panel = _panel(width, top + height + gap, height, rows[-1].step + 1, max(r.n_bytes for r in rows))
    parts += frame(panel, "Bytes", amount, 4) + _bars(panel, rows, lambda r: r.n_bytes, "B")
    panel = _panel(width, top + 2 * (height + gap), height, rows[-1].step + 1, SQNR_TOP_DB)
    parts += frame(panel, "SQNR in dB, higher is better", lambda v: f"{v:g}", 4) + _sqnr_dots(panel, rows)
    parts += _step_labels(panel)
    return svg(width, panel.bottom + 24, _profile_in_words(rows), parts)


def _panel(width: int, top: float, height: float, steps: int, largest: float) -> Panel:
    return Panel(LEFT, top, width - LEFT - RIGHT, height, steps, 1.04 * max(largest, 1))


def _bars(panel: Panel, rows: Sequence[LayerRow], value: Callable[[LayerRow], int], unit: str) -> list[str]:
    wide = panel.width / panel.x_top
    return [
        rect(
            panel.x(r.step) + 0.1 * wide,
            panel.y(value(r)),
            0.8 * wide,
            panel.bottom - panel.y(value(r)),
            f"op-{r.op}",
            f"{r.step} {r.name}: {value(r):,} {unit}",
        )
        for r in rows
        if value(r)
    ]


def _sqnr_dots(panel: Panel, rows: Sequence[LayerRow]) -> list[str]:
    parts = []
    for r in rows:
        if r.quality:
            x, y = panel.x(r.step + 0.5), panel.y(r.quality.sqnr_db)
            parts.append(line(x, panel.bottom, x, y, f"stem op-{r.op}"))
            hint = escaped(f"{r.step} {r.name}: {r.quality.sqnr_db:.1f} dB")
            parts.append(f'<circle class="op-{r.op}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{hint}</title></circle>')
    return parts or [text(panel.left + 8, panel.y(panel.y_top / 2), "not measured", "quiet")]


def _profile_in_words(rows: Sequence[LayerRow]) -> str:
    most = max(rows, key=lambda r: r.macs)
    largest = max(rows, key=lambda r: r.n_bytes)
    text = f"Bars over {rows[-1].step} layers. Most MACs: {most.name}, {most.macs:,}. "
    text += f"Most bytes: {largest.name}, {largest.n_bytes:,}."
    measured = [(r.quality.sqnr_db, r.name) for r in rows if r.quality]
    if measured:
        worst, name = min(measured)
        text += f" Lowest SQNR: {name}, {worst:.1f} dB."
    return text


def histogram(shares: Sequence[float], width: int = 96, height: int = 20) -> str:
    """Codes from -128 to 127; the height is the square root of the share, so that rare codes are visible."""
    top, wide = max(shares) ** 0.5, width / len(shares)
    heights = [max(height * share**0.5 / top, 0.6 if share else 0.0) for share in shares]
    steps = "".join(f"V{height - high:.1f}H{wide * (i + 1):.1f}" for i, high in enumerate(heights))
    words = f"share of the lowest codes {shares[0]:.1%}, of the highest {shares[-1]:.1%}"
    path = f'<path d="M0 {height}{steps}V{height}Z"><title>{words}</title></path>'
    return f'<svg class="codes" role="img" aria-label="{words}" viewBox="0 0 {width} {height}">{path}</svg>'


def instruction_profile(profiles: Sequence[Profile], rows: Sequence[LayerRow], width: int) -> str:
    """Instructions of each call, one panel per machine; a bar spans the steps that its call runs."""
    height, gap, top = 110, 46, 24
    parts: list[str] = []
    panel = _panel(width, top, height, rows[-1].step + 1, 1)
    for i, profile in enumerate(profiles):
        most = max(call.instructions for call in profile.calls)
        panel = _panel(width, top + i * (height + gap), height, rows[-1].step + 1, most)
        title = f"{profile.machine}: {profile.instructions / 1e6:,.2f} M instructions in {len(profile.calls)} calls"
        parts += frame(panel, title, amount, 4) + _call_bars(panel, profile, rows)
    parts += _step_labels(panel)
    return svg(width, panel.bottom + 24, _calls_in_words(profiles), parts)


def _call_bars(panel: Panel, profile: Profile, rows: Sequence[LayerRow]) -> list[str]:
    step = panel.width / panel.x_top
    parts = []
    for call in profile.calls:
        x, y = panel.x(call.first) + 0.1 * step, panel.y(call.instructions)
        wide = panel.x(call.last + 1) - 0.1 * step - x
        steps = f"step {call.first}" if call.first == call.last else f"steps {call.first} to {call.last}"
        hint = f"{steps}, {call.kernel}: {call.instructions:,} instructions"
        kind = f"op-{heaviest(rows, call.first, call.last).op}"
        parts.append(rect(x, y, wide, max(panel.bottom - y, 0.4), kind, hint))
    return parts


def _calls_in_words(profiles: Sequence[Profile]) -> str:
    text = "Instructions of each call."
    for profile in profiles:
        most = max(profile.calls, key=lambda call: call.instructions)
        text += f" {profile.machine}: most in {most.kernel} at step {most.first}, {most.instructions:,}."
    return text


def memory_over_time(memory: Memory, width: int) -> str:
    """Each activation's place in the arena during its lifetime, and below it the live bytes at each step."""
    live_bytes = memory.live_bytes
    arena = _panel(width, 24, 300, len(live_bytes), memory.arena_bytes)
    live = _panel(width, 24 + 300 + 46, 110, len(live_bytes), memory.arena_bytes)
    parts = frame(arena, "Address in the arena, in bytes, at each step", amount, 5) + _residents(memory, arena)
    top = arena.y(memory.arena_bytes)
    parts.append(line(arena.left, top, arena.left + arena.width, top, "limit"))
    parts.append(text(arena.left + arena.width, top + 15, f"arena {memory.arena_bytes:,} B", "end"))
    parts += frame(live, "Live bytes at each step", amount, 3) + _live_bars(live, live_bytes, memory.floor_bytes)
    parts += _step_labels(live)
    words = f"{len(memory.residents)} activations placed in an arena of {memory.arena_bytes:,} bytes over "
    words += f"{len(live_bytes)} steps. Live bytes peak at step {memory.peak_step}: {memory.floor_bytes:,}."
    return svg(width, live.bottom + 24, words, parts)


def _residents(memory: Memory, panel: Panel) -> list[str]:
    """One rectangle per activation, with its size in bytes where the text fits."""
    rectangles, labels = [], []
    for r in memory.residents:
        x, y = panel.x(r.first), panel.y(r.offset + r.n_bytes)
        wide, high = panel.x(r.last + 1) - x, panel.y(r.offset) - y
        hint = f"{r.name}: {r.n_bytes:,} B at {r.offset:,}, steps {r.first} to {r.last}"
        visible = max(high - 0.5, 0.8)
        rectangles.append(rect(x, y, max(wide - 0.5, 0.8), visible, f"resident op-{r.op}", hint))
        label = amount(r.n_bytes)
        long = CHARACTER_WIDTH * len(label) + 6
        middle_x, middle_y = x + wide / 2, y + high / 2
        if wide > long and high > 13:
            labels.append(text(middle_x, middle_y + 4, label, "inside middle"))
        elif wide > 13 and high > long:
            labels.append(text(middle_x + 4, middle_y, label, "inside middle", turn=True))
    return rectangles + labels


def _live_bars(panel: Panel, live_bytes: Sequence[int], peak: int) -> list[str]:
    wide = panel.width / panel.x_top
    return [
        rect(
            panel.x(step),
            panel.y(n_bytes),
            max(wide - 0.5, 0.8),
            panel.bottom - panel.y(n_bytes),
            "live peak" if n_bytes == peak else "live",
            f"step {step}: {n_bytes:,} B",
        )
        for step, n_bytes in enumerate(live_bytes)
    ]


def accuracy_by_device(rows: Sequence[AccuracyRow], width: int) -> str:
    """One line per device, one mark per model."""
    names = devices(rows)
    low = min((a for row in rows for a in row.per_device.values()), default=0.0)
    start = max(0, math.floor(10 * low - 0.2) * 10)
    left = 16 + CHARACTER_WIDTH * max(map(len, names), default=0)
    panel = Panel(left, 4, width - left - 20, 27 * len(names), 100 - start, 1)
    parts = []
    for value in ticks(100 - start, 10 if width > 500 else 5):
        x = panel.x(value)
        parts.append(line(x, panel.top, x, panel.bottom, "grid"))
        parts.append(text(x, panel.bottom + 16, f"{start + value:g} %", "middle"))
    for i, device in enumerate(names):
        y = panel.top + 27 * (i + 0.5)
        marks = [(100 * row.per_device[device], row) for row in rows if device in row.per_device]
        reach = [value for value, _ in marks]
        parts.append(text(panel.left - 9, y + 4, device, "end"))
        parts.append(line(panel.x(min(reach) - start), y, panel.x(max(reach) - start), y, "reach"))
        for value, row in reversed(marks):
            hint = f"{device}, {row.name}: {value:.1f} %"
            parts.append(mark(list(rows).index(row), panel.x(value - start), y, hint))
    return svg(width, panel.bottom + 24, _devices_in_words(rows), parts)


def mark(model: int, x: float, y: float, hint: str = "") -> str:
    """The nth model's mark around (x, y); shapes differ, so that colour is not needed to distinguish them."""
    shapes = (
        "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",  # disc
        "M-4.5,-4.5h9v9h-9z",  # square
        "M0,-6L6,0L0,6L-6,0z",  # diamond
        "M0,-5.5L5.5,4.5H-5.5z",  # triangle
        "M0,5.5L5.5,-4.5H-5.5z",  # triangle, point down
        "M-5,-2H-2V-5H2V-2H5V2H2V5H-2V2H-5z",  # cross
    )
    n = model % MARKS
    title = f"<title>{escaped(hint)}</title>" if hint else ""
    return f'<path class="mark mark-{n}" transform="translate({x:.1f} {y:.1f})" d="{shapes[n]}">{title}</path>'


def legend_mark(model: int) -> str:
    """The same mark as a separate picture, for legends and table heads."""
    return f'<svg class="key" viewBox="-8 -8 16 16" aria-hidden="true">{mark(model, 0, 0)}</svg>'


def _devices_in_words(rows: Sequence[AccuracyRow]) -> str:
    return "Accuracy per device. " + " ".join(f"{row.name}: {_extremes(row)}." for row in rows)


def _extremes(row: AccuracyRow) -> str:
    if not row.per_device:
        return "no devices"
    worst, best = (choose(row.per_device.items(), key=lambda item: item[1]) for choose in (min, max))
    return f"from {worst[1]:.1%} on {worst[0]} to {best[1]:.1%} on {best[0]}"
