"""Bounds of codes, such as those of a RELU6: tables that are only these, and portable kernels that end at them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import ROUNDINGS
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.lookup_tables import function_table

from .records import Layer, codes_of

_CODES = np.arange(-128, 128)


def clip_bounds(graph: Graph, node: Node) -> tuple[int, int] | None:
    """The lowest and the highest output of a node, if it leaves the codes between them as they are, else None."""
    tables = _tables(graph, node)
    if not tables:
        return None
    low, high = int(tables[0].min()), int(tables[0].max())
    return (low, high) if all(np.array_equal(table, np.clip(_CODES, low, high)) for table in tables) else None


def bounded(graph: Graph, at: int, layer: Layer) -> Layer | None:
    """The layer of node ``at`` that ends at the bounds of the node behind it, if this one only has bounds.

    None also for a kernel of a kernel set, which knows the lowest code only, and for one without bounds of its own.
    """
    node, following = graph.nodes[at], graph.nodes[at + 1] if at + 1 < len(graph.nodes) else None
    out, quant = layer.fields.get("out"), graph.out(node).quant
    if not layer.portable or not isinstance(out, dict) or out.keys() != {"zero_point", "low", "high"}:
        return None
    if following is None or following.inputs[:1] != (node.output,) or quant != graph.out(following).quant:
        return None
    bounds = clip_bounds(graph, following)
    if bounds is None:
        return None
    low, high = (bound - quant.zero_point for bound in bounds)
    narrowed = {"zero_point": out["zero_point"], "low": max(out["low"], low), "high": min(out["high"], high)}
    return replace(layer, fields={**layer.fields, "out": narrowed})


def _tables(graph: Graph, node: Node) -> list[I8]:
    """The table by each rounding rule; none of other ops."""
    op = node.op
    if isinstance(op, ops.Table):
        return [codes_of(graph.ins(node)[1]).astype(np.int8)]
    if not isinstance(op, ops.Lookup):
        return []
    return [function_table(op, graph.ins(node)[0].quant, graph.out(node).quant, rule) for rule in ROUNDINGS]
