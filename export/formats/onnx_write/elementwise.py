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
from tinyscene.runtime.ops import Shape

from .writer import Emitter, OnnxWriter


def _elementwise(kind: str) -> Callable[[OnnxWriter, Node], None]:
    def emit(w: OnnxWriter, node: Node) -> None:
        w.result(node, w.emit(kind, [_operand(w, node, 0), _operand(w, node, 1)], f"{node.name}_real"))

    return emit


def _extremum(w: OnnxWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Extremum)
    _elementwise({"max": "Max", "min": "Min"}[node.op.kind])(w, node)


def _squared_difference(w: OnnxWriter, node: Node) -> None:
    """The square of real numbers: ONNX has no operator for both."""
    difference = w.emit("Sub", [_operand(w, node, 0), _operand(w, node, 1)], f"{node.name}_difference")
    w.result(node, w.emit("Mul", [difference, difference], f"{node.name}_real"))


def _operand(w: OnnxWriter, node: Node, index: int) -> str:
    """A dequantised operand with the rank and the layout of the output, so that it is broadcast as in NHWC."""
    tensor, rank, name = w.graph.ins(node)[index], len(w.graph.out(node).shape), node.inputs[index]
    if len(tensor.shape) == rank:
        return w.real(node, index)
    shape, aligned = ops.aligned(tensor.shape, rank), f"{node.name}_aligned{index}"
    if tensor.data is not None:
        return w.real(node, index, w.stored(aligned, tensor.data.reshape(shape)))
    codes = w.codes(name)
    if len(tensor.shape) == 4:
        codes = w.moved(name, "Transpose", [codes], f"{aligned}_nhwc", perm=[0, 2, 3, 1])
    if rank != 4:
        return w.real(node, index, w.moved(name, "Reshape", [codes, _shape(w, aligned, shape)], aligned))
    codes = w.moved(name, "Reshape", [codes, _shape(w, aligned, shape)], f"{aligned}_nhwc")
    return w.real(node, index, w.moved(name, "Transpose", [codes], aligned, perm=[0, 3, 1, 2]))


def _shape(w: OnnxWriter, name: str, shape: Shape) -> str:
    return w.constant(f"{name}_shape", np.array(shape, np.int64))


def _rsqrt(w: OnnxWriter, node: Node) -> None:
    _table(w, node, rsqrt_table(w.graph.ins(node)[0].quant, w.graph.out(node).quant))


def _lookup(w: OnnxWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Lookup)
    x, out = w.graph.ins(node)[0].quant, w.graph.out(node).quant
    _table(w, node, function_table(node.op, x, out, "single"))


def _stored_table(w: OnnxWriter, node: Node) -> None:
    table = w.graph.ins(node)[1].data
    assert table is not None
    _table(w, node, table.astype(np.int8, copy=False))


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
    ops.PRelu: _elementwise("PRelu"),
    ops.SquaredDifference: _squared_difference,
    ops.Extremum: _extremum,
    ops.Rsqrt: _rsqrt,
    ops.Lookup: _lookup,
    ops.Table: _stored_table,
}
