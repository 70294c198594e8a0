"""Graphs and files that one engine computes by no rule: refused for that engine, by the name of the node.

Other engines run them. What is refused was found on graphs of the op alone, with the largest accumulators.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from . import ops
from .errors import RuntimeFailure
from .graph import Graph, Node, accumulator_reach
from .tflite_schema import PLAIN_OPERATORS, TfliteTables

_Limit = Callable[[Graph, Node], str | None]


def require_supported(graph: Graph, engine: str) -> None:
    """Raises RuntimeFailure for the first node that the engine of this name does not compute by its rule."""
    limit = _LIMITS.get(engine)
    for node in graph.nodes if limit else ():
        problem = limit(graph, node) if limit else None
        if problem is not None:
            where = f"engine '{engine}', graph '{graph.name}', {node.name}"
            step = "run the graph with another engine, or give the output a larger scale"
            raise RuntimeFailure(where, f"a limit of this engine: {problem}", next_step=step)


def require_code_0(model: TfliteTables) -> None:
    """Raises RuntimeFailure for a SPACE_TO_BATCH_ND that TFLite Micro pads with code 0 where that is not real 0."""
    for at, operator in enumerate(model.graph.operators):
        if PLAIN_OPERATORS[model.operator_codes[operator.opcode_index].code] != "SPACE_TO_BATCH_ND":
            continue
        source, _, pads = (model.graph.tensors[index] for index in operator.inputs)
        zero_points = () if source.quantization is None else source.quantization.zero_point
        if any(zero_points) and model.buffers[pads.buffer].data.any():
            what = "a limit of this engine: it pads with code 0 instead of the zero point"
            where = f"engine 'tflm', operator {at} (SPACE_TO_BATCH_ND)"
            raise RuntimeFailure(where, what, next_step="run the file with another engine")


def _xnnpack(graph: Graph, node: Node) -> str | None:
    """On x86-64 a product of accumulator and factor below -2^31 becomes the largest code in most kernels."""
    if not isinstance(node.op, ops.Conv2D | ops.FullyConnected):
        return None
    reach, factors = _reach_and_factors(graph, node)
    largest = float((reach * factors).max())
    if largest < 2**31 - 256:
        return None
    return f"XNNPACK converts products of up to 2^{np.log2(largest):.1f} codes to int32"


def _reference(graph: Graph, node: Node) -> str | None:
    """The matrix product rounds once, in 64 bits: it saturates where TFLite Micro's left shift wraps around."""
    if not isinstance(node.op, ops.FullyConnected):
        return None
    reach, factors = _reach_and_factors(graph, node)
    shifted = float((reach * 2.0 ** np.maximum(np.frexp(factors)[1], 0)).max())
    return None if shifted < 2**31 else "its matrix product saturates where TensorFlow Lite Micro's wraps around"


def _reach_and_factors(graph: Graph, node: Node) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The largest accumulator, and the factor to the output's codes, of each output channel or of all."""
    x, weight, _ = graph.ins(node)
    scales = np.asarray(weight.quant.scale, np.float64)
    return accumulator_reach(graph, node), x.quant.scale[0] * scales / graph.out(node).quant.scale[0]


_LIMITS: dict[str, _Limit] = {
    "litert": _xnnpack,
    "tensorflow": _xnnpack,
    "litert-reference": _reference,
    "tensorflow-reference": _reference,
    "tflite-runtime": _reference,
}
