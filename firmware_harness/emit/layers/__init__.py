"""The table op -> C: the portable kernel of each op, the record that describes the layer, and its constants.

Refuses an op without a row. The kernels are in c/; the arithmetic is defined in runtime/arith.py.
"""

from __future__ import annotations

from tinyscene.runtime.graph import Graph, Node

from ...errors import FirmwareError
from ..records import Layer
from . import elementwise, movement, products, recurrent, reductions, windows
from .common import Row

C_ROWS: dict[type, Row] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **recurrent.ROWS,
    **movement.ROWS,
}


def layer_of(graph: Graph, node: Node) -> Layer:
    """Return the portable call of one node.

    Raises:
        FirmwareError: the op has no row.
    """
    row = C_ROWS.get(type(node.op))
    if row is None:
        known = ", ".join(op.__name__ for op in C_ROWS)
        raise FirmwareError(_where(graph, node), "no C kernel for this op", expected=known, got=type(node.op).__name__)
    return row(graph, node)


def _where(graph: Graph, node: Node) -> str:
    return f"graph '{graph.name}', {node.name}"
