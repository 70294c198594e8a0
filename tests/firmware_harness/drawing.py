"""Graphs drawn by hypothesis; those with scales outside of the engines' limits are rejected."""

from __future__ import annotations

from hypothesis import reject

from tests.graphs import Builder
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph


def checked(b: Builder, output: str) -> Graph:
    """Return the graph, or reject the example."""
    try:
        return b.graph(output)
    except RuntimeFailure:
        reject()
