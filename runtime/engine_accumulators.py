"""Accumulators beyond what one engine rescales by its rule: a graph that can reach them is refused for that engine.

Each row was found by running the engine on graphs of the op alone with the largest accumulators
(tests/runtime/test_engine_accumulators.py); other engines run the network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from . import ops
from .accumulators import accumulator_reach, wraps_around
from .errors import RuntimeFailure
from .graph import Graph, Node

_Limit = Callable[[Graph, Node], str | None]


def require_accumulators(graph: Graph, engine: str) -> None:
    """Refuse a node whose accumulators the engine does not rescale by its rule.

    Raises:
        RuntimeFailure: names the node, the engine and the reason; it is marked as unsupported.
    """
    limit = _LIMITS.get(engine)
    if limit is None:
        return
    for node in graph.nodes:
        problem = limit(graph, node)
        if problem is not None:
            step = "use another engine"
            raise RuntimeFailure(f"engine {engine}, '{node.name}'", problem, next_step=step, unsupported=True)


def _xnnpack(graph: Graph, node: Node) -> str | None:
    """On x86-64 a product of accumulator and factor below -2^31 becomes the largest code in most kernels."""
    if not isinstance(node.op, ops.Conv2D | ops.TransposeConv2D | ops.FullyConnected):
        return None
    reach, factors = _reach_and_factors(graph, node)
    largest = float((reach * factors).max())
    if largest < 2**31 - 256:
        return None
    return (
        f"XNNPACK converts its outputs, which reach 2^{np.log2(largest):.1f} codes, to int32 before it saturates them"
    )


def _reference(graph: Graph, node: Node) -> str | None:
    """The matrix product rounds once, in 64 bits: it saturates where TFLite Micro's left shift wraps around."""
    if not isinstance(node.op, ops.FullyConnected):
        return None
    reach, factors = _reach_and_factors(graph, node)
    bits = np.frexp(factors)[1]
    shifted = float(np.where(bits > 0, reach * 2.0**bits, 0.0).max())
    return None if shifted < 2**31 else "its matrix product saturates where TensorFlow Lite Micro's wraps around"


def _reach_and_factors(graph: Graph, node: Node) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The largest accumulator, and the factor to the output's codes, of each output channel or of all."""
    x, weight, _ = graph.ins(node)
    scales = np.asarray(weight.quant.scale, np.float64)
    return np.minimum(accumulator_reach(graph, node), 2**31), x.quant.scale[0] * scales / graph.out(node).quant.scale[0]


def _ort(graph: Graph, node: Node) -> str | None:
    """Integer kernels wrap around; a transposed convolution sums products in float32."""
    wraps = isinstance(node.op, ops.TransposeConv2D) and wraps_around(graph, node)
    return "its transposed convolution sums beyond int32, where other engines wrap around" if wraps else None


def _float(graph: Graph, node: Node) -> str | None:
    return "its sums are float32, where other engines wrap around in int32" if wraps_around(graph, node) else None


_LIMITS: dict[str, _Limit] = {
    "litert": _xnnpack,
    "tensorflow": _xnnpack,
    "litert-reference": _reference,
    "tensorflow-reference": _reference,
    "tflite-runtime": _reference,
    "ort": _ort,
    "ort-int8": _ort,
    "pytorch": _float,
}
