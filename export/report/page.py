"""Render the report: one HTML page that needs nothing but itself, and says what was measured and what was not.

No script, no font, no picture is loaded; a content security policy in the page keeps it so. All text is escaped.
Skipped targets are shown as skipped with their reason. Refuses nothing that the types allow: without labelled clips
the page says that accuracy was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from runtime.cost import graph_cost, verdicts
from runtime.graph import Graph
from runtime.plan import plan
from runtime.spec import DCASE_BUDGET, FrontendSpec

from . import figures, sections
from .sections import AccuracyRow

if TYPE_CHECKING:
    from ..quality import LayerQuality
    from ..verify import Verification

__all__ = ["AccuracyRow", "ReportData", "render"]

WIDE, NARROW = 900, 346  # px of a drawing: between a desk's 1088 and a sheet of paper's 700; on a phone


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that the page is made of; costs and memory are worked out from ``graph``.

    ``accuracy`` may be empty; its rows "float" and "int8" are the ones compared at the top. ``quality`` is matched to
    layers by tensor name. ``provenance`` is shown as it is, in its order.
    """

    title: str
    graph: Graph
    labels: tuple[str, ...]
    frontend: FrontendSpec
    verification: Verification
    quality: tuple[LayerQuality, ...]
    accuracy: tuple[AccuracyRow, ...]
    provenance: dict[str, str]


def render(data: ReportData) -> bytes:
    """The page as UTF-8; the same data give the same bytes."""
    cost = graph_cost(data.graph, "dcase")
    budget = verdicts(cost, DCASE_BUDGET)
    memory = plan(data.graph)
    layers = sections.layer_rows(data.graph, cost, data.quality)
    lines = sections.verdict_lines(data.verification, budget, data.accuracy)
    peak = sections.peak_step(memory)
    page = _environment().get_template("page.html.j2")
    text = page.render(
        data=data,
        cost=cost,
        memory=memory,
        layers=layers,
        lines=lines,
        headline=sections.headline(lines),
        tiles=sections.tiles(data.verification, budget, data.accuracy, memory),
        ops=tuple(dict.fromkeys(row.op for row in layers)),
        shipped=sections.shipped_row(data.accuracy),
        devices=sections.devices(data.accuracy),
        peak=peak,
        alive_at_peak=[t for t in memory.lifetimes if t.first <= peak <= t.last],
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
