"""ONNX operators: matrix products."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node
from tinyscene.runtime.onnx_tensors import nchw

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


def _batch_matmul(w: OnnxWriter, node: Node) -> None:
    """MatMul of two activations, which ONNX Runtime computes in integers; matrices are the last axes, as in NHWC."""
    op, out = node.op, w.graph.out(node)
    assert isinstance(op, ops.BatchMatMul)
    operands = [_operand(w, node, index, adjoint) for index, adjoint in enumerate((op.adj_x, op.adj_y))]
    real = w.emit("MatMul", operands, f"{node.name}_real")
    if len(out.shape) != 4:
        w.result(node, real)
        return
    w.result(node, real, f"{node.name}_nhwc")
    w.moved(out.name, "Transpose", [f"{node.name}_nhwc"], w.codes(out.name), perm=[0, 3, 1, 2])


def _operand(w: OnnxWriter, node: Node, index: int, adjoint: bool) -> str:
    """A dequantised operand, its codes transposed from the file's layout to that of the product."""
    tensor = w.graph.ins(node)[index]
    stored = list(range(len(tensor.shape)))
    wanted = [*stored[:-2], stored[-1], stored[-2]] if adjoint else list(stored)
    order = [nchw(tuple(stored)).index(axis) for axis in wanted]
    codes = w.codes(tensor.name)
    if order != stored:
        codes = w.moved(tensor.name, "Transpose", [codes], f"{node.name}_operand{index}", perm=order)
    return w.real(node, index, codes)


def _in_graph_order(w: OnnxWriter, node: Node, codes: str) -> str:
    """The codes of the first input in the layout of the graph."""
    x = w.graph.ins(node)[0]
    if len(x.shape) != 4:
        return codes
    return w.moved(x.name, "Transpose", [codes], f"{node.name}_turned", perm=[0, 2, 3, 1])


ROWS: dict[type[ops.Op], Emitter] = {ops.FullyConnected: _fully_connected, ops.BatchMatMul: _batch_matmul}
