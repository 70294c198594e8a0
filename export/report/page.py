"""Render the report's record as one self-contained HTML page; what was not measured is shown as such.

Skipped targets are shown as skipped, with the reason.
"""

from __future__ import annotations

from dataclasses import asdict

from jinja2 import Environment

from tinyscene.firmware_harness.cycles.estimate import Interval, short
from tinyscene.training.page.template import templates

from . import drawings, sections
from .demo import Demo
from .records import Document


def render(document: Document, demo: Demo | None = None) -> bytes:
    """The page as UTF-8; the same record gives the same bytes.

    ``demo``: the model as a web page inside this one, or the reason why there is none.
    """
    layers, memory = document.layers, document.memory
    peak = memory.peak_step
    page = _environment().get_template("page.html.j2")
    text = page.render(
        data=document,
        demo=demo,
        tiles=sections.tiles(document),
        ops=tuple(dict.fromkeys(row.op for row in layers)),
        shipped=sections.shipped_row(document.accuracy),
        devices=sections.devices(document.accuracy),
        target_devices=sections.target_devices(document.verification),
        live_at_peak=[r for r in memory.residents if r.first <= peak <= r.last],
        front_end_settings=asdict(document.front_end.settings) if document.front_end else {},
        most_macs=max(row.macs for row in layers) or 1,
        most_bytes=max(row.n_bytes for row in layers) or 1,
    )
    return text.encode()


def _environment() -> Environment:
    environment = templates("tinyscene.export.report")
    environment.filters |= {
        "mega": _mega,
        "shape": _shape,
        "ram": sections.ram_bytes,
        "short": short,
        "between": _between,
    }
    environment.globals |= {"drawings": drawings, "sections": sections}
    return environment


def _mega(number: int | None) -> str:
    return "–" if number is None else f"{number / 1e6:,.1f} M"


def _between(interval: Interval) -> str:
    return f"{short(interval.low)}–{short(interval.high)}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
