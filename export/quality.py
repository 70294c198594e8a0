"""What 8 bits cost, activation by activation, against the same network without rounding, on the same clips.

A low figure inside a GRN need not hurt: small squares vanish beside large ones, and what a ReLU cuts a moment later is
not kept apart before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from runtime.arith import I8, dequantise
from runtime.graph import OPS, Graph
from runtime.interpreter import run


@dataclass(frozen=True)
class LayerQuality:
    """How much an activation lost to its 8 bits, against the float network."""

    name: str
    op: str
    sqnr_db: float
    saturated_share: float


def layer_quality(graph: Graph, codes: I8, reference: Mapping[str, np.ndarray]) -> tuple[LayerQuality, ...]:
    """SQNR in dB and the share of saturated codes of each activation that ``reference`` (float, NHWC) has too."""
    trace: dict[str, I8] = {}
    run(graph, codes, trace=trace)
    rows = []
    names = {graph.input: "input", **{n.output: OPS[type(n.op)].name for n in graph.nodes}}
    for tensor in graph.activations():
        if tensor.name not in reference:
            continue
        wanted = reference[tensor.name].astype(np.float64)
        got = dequantise(trace[tensor.name], tensor.quant).reshape(wanted.shape)
        noise = float(np.square(wanted - got).sum())
        sqnr = 10 * np.log10(max(float(np.square(wanted).sum()), 1e-30) / max(noise, 1e-30))
        edge = (trace[tensor.name] == 127) | (trace[tensor.name] == -128) & (tensor.quant.zero_point > -128)
        rows.append(LayerQuality(tensor.name, names[tensor.name], float(sqnr), float(edge.mean())))
    return tuple(rows)
