"""ONNX operators: matrix products."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node

from .writer import Emitter, OnnxWriter


def _fully_connected(w: OnnxWriter, node: Node) -> None:
    """Gemm, which ONNX Runtime computes in integers with its bias; it takes a matrix."""
    (x, weight, _), out = w.graph.ins(node), w.graph.out(node)
    assert weight.data is not None
    codes, several = w.codes(x.name), len(x.shape) > 2
    if several:
        codes = _in_graph_order(w, node, codes)
        rows = w.constant(f"{node.name}_rows", np.array([-1, weight.shape[1]], np.int64))
        codes = w.moved(x.name, "Reshape", [codes, rows], f"{node.name}_matrix")
    real = w.emit("Gemm", [w.real(node, 0, codes), *w.weight(node, weight.data)], f"{node.name}_real", transB=1)
    if not several:
        w.result(node, real)
        return
    w.result(node, real, f"{node.name}_product")
    shape = w.constant(f"{node.name}_shape", np.array(out.shape, np.int64))
    last = len(out.shape) == 4
    reshaped = f"{node.name}_nhwc" if last else w.codes(out.name)
    w.moved(out.name, "Reshape", [f"{node.name}_product", shape], reshaped)
    if last:
        w.moved(out.name, "Transpose", [reshaped], w.codes(out.name), perm=[0, 3, 1, 2])


def _in_graph_order(w: OnnxWriter, node: Node, codes: str) -> str:
    """The codes of the first input in the layout of the graph."""
    x = w.graph.ins(node)[0]
    if len(x.shape) != 4:
        return codes
    return w.moved(x.name, "Transpose", [codes], f"{node.name}_turned", perm=[0, 2, 3, 1])


ROWS: dict[type[ops.Op], Emitter] = {ops.FullyConnected: _fully_connected}
