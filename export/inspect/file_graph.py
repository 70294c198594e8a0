"""The listing of a file made elsewhere that is an integer graph, and why one is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.runtime.cost import Layer, count
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.without_constants import without_constants

from ..errors import ExportError
from .graph_listing import graph_listing
from .records import RULE, Listing


def file_listing(graph: Graph, kind: str, layers: Callable[[], list[Layer]], cpu: str, optimise: Optimise) -> Listing:
    """The operations of a graph that was read from a file of ``kind``, whose own operators cost ``layers``."""
    listing = graph_listing(graph, f"int8 {kind} file, as an integer graph", cpu, optimise)
    note = _differing_count(layers, sum(node.macs or 0 for node in listing.nodes))
    return replace(listing, notes=(*listing.notes, *note, *without_constants(graph).notes()))


def _differing_count(layers: Callable[[], list[Layer]], graph_macs: int) -> tuple[str, ...]:
    """A note where operators were replaced by others of a different cost."""
    try:
        file_macs = count(layers(), RULE, source="").macs
    except ExportError as problem:
        return (f"the operators of the file are not counted: {problem}",)
    if file_macs == graph_macs:
        return ()
    return (f"the file's own operators have {file_macs:,} MACs; the graph replaces some by others of the op set",)


def no_graph_note(problem: ExportError, path: Path) -> str:
    """Why a file does not become a graph, without its name and without advice, which is for other commands."""
    where = problem.where.removeprefix(str(path)).strip(", ")
    reason = f"{where}{': ' if where else ''}{problem.what}{f'; got {problem.got}' if problem.got else ''}"
    return f"not an integer graph: {' '.join(reason.split())}"
