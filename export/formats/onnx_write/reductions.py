"""ONNX operators: means and softmax, which combine elements along axes."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node
from tinyscene.runtime.onnx_tensors import nchw

from .writer import Emitter, OnnxWriter


def _mean(w: OnnxWriter, node: Node) -> None:
    """GlobalAveragePool, the mean that ONNX Runtime fuses; for a mean over channels they become a spatial axis."""
    op, x = node.op, w.graph.ins(node)[0]
    assert isinstance(op, ops.Mean)
    codes = w.codes(x.name)
    if op.over == "channels":
        _, height, width, channels = x.shape
        rows = w.constant(f"{node.name}_rows", np.array([1, channels, height * width, 1], np.int64))
        flat = w.moved(x.name, "Reshape", [codes, rows], f"{node.name}_flat")
        codes = w.moved(x.name, "Transpose", [flat], f"{node.name}_turned", perm=[0, 2, 1, 3])
    pooled = w.emit("GlobalAveragePool", [w.real(node, 0, codes)], f"{node.name}_real")
    out = w.graph.out(node)
    if op.over == "space" and op.keep_dims:  # Hexagon refuses a Reshape to the same shape
        w.quantize(pooled, w.codes(out.name), out.quant)
        return
    mean = w.emit("QuantizeLinear", [pooled, *w.parameters(out.name)], f"{node.name}_mean")
    target = w.constant(f"{node.name}_shape", np.array(nchw(out.shape), np.int64))
    w.moved(out.name, "Reshape", [mean, target], w.codes(out.name))


def _softmax(w: OnnxWriter, node: Node) -> None:
    rank = len(w.graph.out(node).shape)
    w.result(node, w.emit("Softmax", [w.real(node, 0)], f"{node.name}_real", axis=1 if rank == 4 else rank - 1))


ROWS: dict[type[ops.Op], Emitter] = {ops.Mean: _mean, ops.Softmax: _softmax}
