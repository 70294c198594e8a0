"""Jinja2 environment of the pages: shared layout and macros, the templates of one page, and number formats.

Pages load no script, font or image, which their content security policy enforces. All text is escaped,
control characters too, and an undefined name in a template is an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from tinyscene.runtime.printable import printable

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
    """The templates in ``package``, and the shared ones."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "") for name in (package, "tinyscene.training.page")]),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": _count, "percent": _percent, "interval": interval_text}
    environment.globals["widths"] = {"wide": WIDE, "narrow": NARROW}
    return environment


def _printable(value: object) -> object:
    """Text without control characters; drawings are markup, and have escaped theirs."""
    return printable(value) if type(value) is str else value


def interval_text(interval: tuple[float, float]) -> str:
    """Both ends in percent."""
    return f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f} %"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
