"""Calls in C: operations that only move elements."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.plan import Lead

from ..records import (
    Fields,
    Layer,
)
from .common import Row


def _reshape(graph: Graph, node: Node) -> Layer:
    size = graph.out(node).n_bytes
    return Layer("ts_reshape", "TsReshape", {"size": size}, lead=Lead(size, in_place=True))


def _concat(graph: Graph, node: Node) -> Layer:
    op, (a, b) = node.op, graph.ins(node)
    assert isinstance(op, ops.Concat)
    a_size, b_size = (int(np.prod(t.shape[op.axis :])) for t in (a, b))
    fields: Fields = {"repeats": a.n_bytes // a_size, "a_size": a_size, "b_size": b_size}
    return Layer("ts_concat", "TsConcat", fields)


ROWS: dict[type, Row] = {ops.Reshape: _reshape, ops.Concat: _concat}
