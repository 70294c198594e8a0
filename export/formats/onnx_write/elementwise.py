"""ONNX operators: sums, products and functions of single elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from tinyscene.runtime import ops
from tinyscene.runtime.arith import rsqrt_table
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Node
from tinyscene.runtime.lookup_tables import function_table
from tinyscene.runtime.onnx_tensors import nchw

from .writer import Emitter, OnnxWriter


def _elementwise(kind: str) -> Callable[[OnnxWriter, Node], None]:
    def emit(w: OnnxWriter, node: Node) -> None:
        w.result(node, w.emit(kind, [w.real(node, 0), w.real(node, 1)], f"{node.name}_real"))

    return emit


def _rsqrt(w: OnnxWriter, node: Node) -> None:
    _table(w, node, rsqrt_table(w.graph.ins(node)[0].quant, w.graph.out(node).quant))


def _lookup(w: OnnxWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Lookup)
    x, out = w.graph.ins(node)[0].quant, w.graph.out(node).quant
    _table(w, node, function_table(node.op.function, x, out, "single"))


def _table(w: OnnxWriter, node: Node, table: I8) -> None:
    """Gather with codes as indices; negative codes count from the end. Flattened, because on Hexagon a tensor is either
    codes or indices, not both."""
    source, out = node.inputs[0], w.graph.out(node)
    flat = w.constant(f"{node.name}_length", np.array([-1], np.int64))
    codes = w.moved(source, "Reshape", [w.codes(source), flat], f"{node.name}_flat")
    index = w.emit("Cast", [codes], f"{node.name}_index", to=TensorProto.INT32)
    in_order = np.roll(table.astype(np.int16) + w.offset, 128 + w.offset)
    values = w.constant(f"{node.name}_table", in_order.astype(w.dtype))
    gathered = w.moved(out.name, "Gather", [values, index], f"{node.name}_found", axis=0)
    shape = w.constant(f"{node.name}_shape", np.array(nchw(out.shape), np.int64))
    w.moved(out.name, "Reshape", [gathered, shape], w.codes(out.name))


ROWS: dict[type[ops.Op], Emitter] = {
    ops.Add: _elementwise("Add"),
    ops.Sub: _elementwise("Sub"),
    ops.Mul: _elementwise("Mul"),
    ops.Rsqrt: _rsqrt,
    ops.Lookup: _lookup,
}
