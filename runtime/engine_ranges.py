"""Scales that one engine cannot compute with, although the op defines its result: the others run the network.

Each row was found by running the engine on graphs of the op alone (tests/runtime/test_engine_ranges.py). Refuses such
a graph for that engine, naming the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import ops
from .engine_accumulators import require_accumulators
from .errors import RuntimeFailure
from .op_ranges import scale_factors

if TYPE_CHECKING:
    from .graph import Graph, Node


@dataclass(frozen=True)
class EngineRange:
    """Bounds of an op's scale factor on one engine, ``below`` excluded.

    ``function`` is that of a :class:`ops.Lookup`; ``per_element`` divides the factor by the elements of a mean, but not
    of a sum.
    """

    of: type[ops.Op] | tuple[type[ops.Op], ...]
    low: float
    below: float
    reason: str
    function: str = ""
    per_element: bool = False

    def covers(self, op: ops.Op) -> bool:
        if not isinstance(op, self.of):
            return False
        return not self.function or (isinstance(op, ops.Lookup) and op.function == self.function)


_WEIGHTED = (ops.Conv2D, ops.DepthwiseConv2D, ops.TransposeConv2D, ops.FullyConnected)
_XNNPACK = (
    EngineRange(_WEIGHTED, 0.0, 256.0, "XNNPACK does not start with scale ratios from 256 on"),
    EngineRange(
        (ops.Add, ops.Sub, ops.Mul, ops.BatchMatMul),
        0.0,
        256.0,
        "LiteRT's kernels overflow with scale ratios from 256 on",
    ),
)
# Up to a scale of 4 the fixed point of TFLite Micro's logistic is within one code of it, from 8 on up to 128 codes off.
_FLOAT_LOGISTIC = EngineRange(
    ops.Lookup, 0.0, 4.0, "its logistic is float, TFLite Micro's fixed point is inexact from scale 4 on", "logistic"
)
_FLOAT_TANH = EngineRange(
    ops.Lookup, 0.0, 4.0, "its tanh is float, TFLite Micro's fixed point is inexact from scale 4 on", "tanh"
)
_ORT = (
    EngineRange(
        ops.Reduce, 2.0**-32, 256.0, "its global average pool has bounds for ratio / elements", per_element=True
    ),
    EngineRange(ops.Mul, 0.0, 2.0**15, "it converts products to int32 before it saturates them"),
)
_RANGES: dict[str, tuple[EngineRange, ...]] = {
    "litert": _XNNPACK,
    "tensorflow": _XNNPACK,
    "litert-reference": (_FLOAT_LOGISTIC, _FLOAT_TANH),
    "tensorflow-reference": (_FLOAT_LOGISTIC, _FLOAT_TANH),
    "tflite-runtime-reference": (_FLOAT_LOGISTIC, _FLOAT_TANH),
    "ort": _ORT,
    "ort-int8": _ORT,
}


def require_supported(graph: Graph, engine: str) -> None:
    """Refuse a graph with a scale beyond the engine's ranges, or with accumulators beyond its own.

    Raises:
        RuntimeFailure: names the node, the engine and the reason; it is marked as unsupported.
    """
    require_accumulators(graph, engine)
    for node in graph.nodes:
        for row in _RANGES.get(engine, ()):
            if row.covers(node.op):
                _require_range(graph, node, row, engine)


def _require_range(graph: Graph, node: Node, row: EngineRange, engine: str) -> None:
    factors = scale_factors(node.op, graph.ins(node), graph.out(node))
    if row.per_element and isinstance(node.op, ops.Reduce) and node.op.kind == "mean":
        factors = factors * graph.out(node).n_bytes / graph.ins(node)[0].n_bytes
    if factors.size and not (factors.min() >= row.low and factors.max() < row.below):
        raise RuntimeFailure(
            f"engine {engine}, '{node.name}'",
            f"cannot run this {ops.title(node.op)}: {row.reason}",
            expected=f"{row.low:g} to {row.below:g}",
            got=f"{factors.min():g} to {factors.max():g}",
            next_step="use another engine",
            unsupported=True,
        )
