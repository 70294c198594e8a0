"""Elements of charts as SVG text: panels with axes, lines, bars, labels.

Not matplotlib: a page is one self-contained file whose charts follow the light, dark and print style, and bar charts do
not justify a heavy dependency. Elements have classes instead of colours, which the style of the page defines. Text has
its real size, therefore narrow screens get a narrower chart instead of a scaled one. For screen readers every chart is
one image with a description; the tables beside it contain the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape

from tinyscene.runtime.printable import printable

WIDE, NARROW = 900, 346  # px of a chart: on desktops (1088) and paper (700); on phones
CHARACTER_WIDTH = 6.2  # px of a digit at 11 px, with some margin


@dataclass(frozen=True)
class Panel:
    """A plot area in pixels, with linear axes from 0 (bottom, left) to ``x_top`` and ``y_top``."""

    left: float
    top: float
    width: float
    height: float
    x_top: float
    y_top: float

    def x(self, value: float) -> float:
        return self.left + self.width * value / self.x_top

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - min(max(value / self.y_top, 0.0), 1.0))

    @property
    def bottom(self) -> float:
        return self.top + self.height


def ticks(top: float, at_most: int) -> list[float]:
    """Round values from 0 up to ``top``, no more than ``at_most`` steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(top / at_most))
    step = next(factor * power for factor in (1, 2, 5, 10) if top / (factor * power) <= at_most)
    return [step * i for i in range(int(top / step + 1e-9) + 1)]


def escaped(text: str) -> str:
    """Text for XML, from files too."""
    return escape(printable(text))


def svg(width: float, height: float, description: str, parts: Iterable[str]) -> str:
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escaped(description)}">'
    return "\n".join((head, *parts, "</svg>"))


def text(x: float, y: float, text: str, kind: str = "", turn: bool = False) -> str:
    turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{turned}>{escaped(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str, hint: str) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {where}><title>{escaped(hint)}</title></rect>'


def frame(panel: Panel, title: str, unit: Callable[[float], str], lines: int) -> list[str]:
    """Title, horizontal grid and its labels."""
    parts = [text(0, panel.top - 9, title, "title")]
    for value in ticks(panel.y_top, lines):
        y = panel.y(value)
        parts.append(line(panel.left, y, panel.left + panel.width, y, "grid" if value else "axis"))
        parts.append(text(panel.left - 7, y + 4, unit(value), "end"))
    return parts
