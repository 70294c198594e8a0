"""Charts of an evaluation: accuracy of groups with intervals, a reliability diagram, a difference in accuracy.

SVG text from :mod:`tinyscene.training.page.svg`, whose docstring explains why matplotlib is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..evaluation.metrics import BINS
from .svg import CHARACTER_WIDTH, Panel, escaped, frame, line, rect, svg, text, ticks

if TYPE_CHECKING:
    from ..evaluation.evaluation import Difference, Group
    from ..evaluation.metrics import Bin

ROW = 26  # px from one bar to the next
VALUE_WIDTH = 52  # px for the value after a bar
WHISKER = 4  # px, half the height of the ends of an interval


def group_bars(groups: Sequence[Group], overall: float, width: int) -> str:
    """A bar per group from 0 to 100 %, its 95 % interval as a whisker; a dashed line at the overall accuracy."""
    left = 12 + CHARACTER_WIDTH * max(len(group.name) for group in groups)
    panel = Panel(left, 18, width - left - VALUE_WIDTH, ROW * len(groups), 100, 1)
    parts = _percent_grid(panel)
    for i, group in enumerate(groups):
        y = panel.top + ROW * (i + 0.5)
        value = 100 * group.accuracy
        hint = f"{group.name}: {value:.1f} % of {group.clips:,} clips{_interval_words(group.interval)}"
        parts.append(text(panel.left - 8, y + 4, group.name, "end"))
        parts.append(rect(panel.left, y - 7, max(panel.x(value) - panel.left, 0.5), 14, "share", hint))
        parts.append(text(panel.left + panel.width + VALUE_WIDTH, y + 4, f"{value:.1f} %", "end"))
        if group.interval is not None:
            parts += _whisker(panel, y, group.interval)
    parts.append(line(panel.x(100 * overall), panel.top, panel.x(100 * overall), panel.bottom, "limit"))
    parts.append(
        text(min(panel.x(100 * overall), panel.left + panel.width - 40), 12, f"all {100 * overall:.1f} %", "middle")
    )
    worst, best = (choose(groups, key=lambda group: group.accuracy) for choose in (min, max))
    words = f"Accuracy of {len(groups)} groups of clips, from {worst.accuracy:.1%} on {worst.name} to "
    return svg(width, panel.bottom + 24, f"{words}{best.accuracy:.1%} on {best.name}; {overall:.1%} on all.", parts)


def reliability(bins: Sequence[Bin], width: int) -> str:
    """Accuracy over mean confidence, a dot per bin, and below it the number of clips per bin."""
    panel = Panel(52, 24, width - 72, 260, 100, 100)
    parts = frame(panel, "Accuracy, %", lambda v: f"{v:g}", 5)
    parts.append(line(panel.x(0), panel.y(0), panel.x(100), panel.y(100), "limit"))
    for b in bins:
        x, y = panel.x(100 * b.confidence), panel.y(100 * b.accuracy)
        hint = escaped(f"confidence {b.confidence:.1%}, accuracy {b.accuracy:.1%}, {b.clips:,} clips")
        parts.append(line(x, panel.y(100 * b.confidence), x, y, "gap"))
        parts.append(f'<circle class="share" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{hint}</title></circle>')
    below = Panel(52, panel.bottom + 46, width - 72, 70, 100, 1.04 * max(b.clips for b in bins))
    parts += frame(below, "Number of clips", lambda v: f"{v:,.0f}", 3)
    for b in bins:
        number = min(int(b.confidence * BINS), BINS - 1)
        x, y = below.x(100 * number / BINS), below.y(b.clips)
        hint = f"{b.clips:,} clips at confidence {b.confidence:.1%}"
        parts.append(rect(x + 1, y, below.width / BINS - 2, below.bottom - y, "share", hint))
    parts += [text(below.x(v), below.bottom + 16, f"{v:g} %", "middle") for v in ticks(100, 5)]
    parts.append(text(below.x(50), below.bottom + 34, "confidence", "middle"))
    worst = max(bins, key=lambda b: b.clips * abs(b.confidence - b.accuracy))
    words = f"Accuracy over confidence in {len(bins)} bins. Largest contribution to the calibration error: confidence "
    words += f"{worst.confidence:.1%}, accuracy {worst.accuracy:.1%}, {worst.clips:,} clips."
    return svg(width, below.bottom + 44, words, parts)


def gain(difference: Difference, width: int) -> str:
    """The gain in percentage points and its 95 % interval, around zero."""
    low, high = (100 * bound for bound in difference.interval)
    value = 100 * difference.gain
    reach = max(1.0, 1.15 * max(abs(low), abs(high), abs(value)))
    panel = Panel(16, 10, width - 32, 34, 2 * reach, 1)
    y, zero = panel.top + 17, panel.x(reach)
    parts = []
    for step in ticks(reach, 3):
        for at in {step, -step}:
            parts.append(
                line(panel.x(reach + at), panel.top, panel.x(reach + at), panel.bottom, "grid" if at else "axis")
            )
            parts.append(text(panel.x(reach + at), panel.bottom + 16, f"{at:+g}" if at else "0", "middle"))
    parts.append(
        rect(
            min(zero, panel.x(reach + value)),
            y - 7,
            max(abs(panel.x(reach + value) - zero), 0.5),
            14,
            "share",
            f"{value:+.1f} points",
        )
    )
    parts += _whisker(panel, y, (low / 100, high / 100), origin=reach)
    words = f"{value:+.1f} points compared with {difference.other}, 95 % interval {low:+.1f} to {high:+.1f}."
    return svg(width, panel.bottom + 24, words, parts)


def _percent_grid(panel: Panel) -> list[str]:
    parts = []
    for value in ticks(100, 5 if panel.width > 250 else 2):
        x = panel.x(value)
        parts.append(line(x, panel.top, x, panel.bottom, "grid" if value else "axis"))
        parts.append(text(x, panel.bottom + 16, f"{value:g} %", "middle"))
    return parts


def _whisker(panel: Panel, y: float, interval: tuple[float, float], origin: float = 0.0) -> list[str]:
    """An interval given as shares, on an axis in percent whose zero is at ``origin``."""
    low, high = (panel.x(origin + 100 * bound) for bound in interval)
    ends = [line(x, y - WHISKER, x, y + WHISKER, "whisker") for x in (low, high)]
    return [line(low, y, high, y, "whisker"), *ends]


def _interval_words(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f", 95 %: {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"
