"""ONNX operators: matrix products."""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node

from .writer import Emitter, OnnxWriter


def _fully_connected(w: OnnxWriter, node: Node) -> None:
    weight = w.graph.ins(node)[1].data
    assert weight is not None
    w.result(node, w.emit("Gemm", [w.real(node, 0), *w.weight(node, weight)], f"{node.name}_real", transB=1))


ROWS: dict[type[ops.Op], Emitter] = {ops.FullyConnected: _fully_connected}
