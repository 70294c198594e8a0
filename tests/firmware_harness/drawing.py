"""Graphs that hypothesis draws: those with scales that no engine takes are drawn again."""

from __future__ import annotations

from hypothesis import reject

from tests.graphs import Builder
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph


def checked(b: Builder, output: str) -> Graph:
    """The graph, or no example."""
    try:
        return b.graph(output)
    except RuntimeFailure:
        reject()
