"""Render the report's record: one HTML page that needs nothing but itself, and says what was measured and what not.

No script, no font, no picture is loaded; a content security policy in the page keeps it so. All text is escaped.
Skipped targets are shown as skipped with their reason.
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from . import figures, sections
from .records import Document

WIDE, NARROW = 900, 346  # px of a drawing: between a desk's 1088 and a sheet of paper's 700; on a phone


def render(document: Document) -> bytes:
    """The page as UTF-8; the same record gives the same bytes."""
    layers, memory = document.layers, document.memory
    peak = memory.peak_step
    page = _environment().get_template("page.html.j2")
    text = page.render(
        data=document,
        tiles=sections.tiles(document),
        ops=tuple(dict.fromkeys(row.op for row in layers)),
        shipped=sections.shipped_row(document.accuracy),
        devices=sections.devices(document.accuracy),
        target_devices=sections.target_devices(document.verification),
        alive_at_peak=[r for r in memory.residents if r.first <= peak <= r.last],
        most_macs=max(row.macs for row in layers) or 1,
        most_bytes=max(row.n_bytes for row in layers) or 1,
        widths={"wide": WIDE, "narrow": NARROW},
    )
    return text.encode()


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("export.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": _count, "percent": _percent, "mega": _mega, "shape": _shape}
    environment.filters["ram"] = sections.ram_bytes
    environment.globals |= {"figures": figures, "sections": sections}
    return environment


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _mega(number: int | None) -> str:
    return "–" if number is None else f"{number / 1e6:,.1f} M"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
