"""Templates of pages: the house's frame and parts together with those of one page, and how numbers are written.

No script, no font, no picture is loaded; a content security policy in the page keeps it so. All text is escaped, and a
name that a template does not know is an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from .svg import NARROW, WIDE


@dataclass(frozen=True)
class Tile:
    """One key figure; ``share`` in [0, 1] of its limit draws a gauge, ``state`` is pass, warn, skip or fail."""

    label: str
    value: str
    unit: str
    notes: tuple[str, ...]
    state: str | None = None
    share: float | None = None


def templates(package: str = "tinyscene.training.page") -> Environment:
    """The templates that lie in ``package``, and the house's."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "") for name in (package, "tinyscene.training.page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": _count, "percent": _percent, "interval": interval_text}
    environment.globals["widths"] = {"wide": WIDE, "narrow": NARROW}
    return environment


def interval_text(interval: tuple[float, float]) -> str:
    """Both ends in percent."""
    return f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f} %"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
