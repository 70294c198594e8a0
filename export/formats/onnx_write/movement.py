"""ONNX operators: operations that only move elements. Axes of tensors of four dimensions are in NCHW."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node
from tinyscene.runtime.onnx_tensors import IN_NCHW, nchw, nchw_axis
from tinyscene.runtime.resize_tables import nearest_places

from .writer import Emitter, OnnxWriter

IN_NHWC = (0, 3, 1, 2)  # the place of each NCHW axis
_BEFORE_THE_FIRST = -(2**31)  # an end of -1 counts from behind


def _reshape(w: OnnxWriter, node: Node) -> None:
    """Elements are reshaped in NHWC order, with a Transpose before and after for four axes."""
    op, codes = node.op, w.codes(node.inputs[0])
    assert isinstance(op, ops.Reshape)
    name = node.output
    if len(w.graph.ins(node)[0].shape) == 4:
        codes = w.moved(name, "Transpose", [codes], f"{node.name}_turned", perm=[0, 2, 3, 1])
    shape = w.constant(f"{node.name}_shape", np.array(op.shape, np.int64))
    if len(op.shape) != 4:
        w.moved(name, "Reshape", [codes, shape], w.codes(name))
        return
    w.moved(name, "Reshape", [codes, shape], f"{node.name}_nhwc")
    w.moved(name, "Transpose", [f"{node.name}_nhwc"], w.codes(name), perm=[0, 3, 1, 2])


def _transpose(w: OnnxWriter, node: Node) -> None:
    op = node.op
    assert isinstance(op, ops.Transpose)
    order = op.order
    if len(order) == 4:  # of axes in NCHW: from the graph's layout, in the op's order, and back
        order = tuple(IN_NCHW[op.order[axis]] for axis in IN_NHWC)
    w.moved(node.output, "Transpose", [w.codes(node.inputs[0])], w.codes(node.output), perm=order)


def _pad(w: OnnxWriter, node: Node) -> None:
    op, quant = node.op, w.graph.out(node).quant
    assert isinstance(op, ops.Pad)
    amounts = w.constant(f"{node.name}_amounts", np.array([*nchw(op.before), *nchw(op.after)], np.int64))
    value = np.float32(op.code - quant.zero_point) * np.float32(quant.scale[0])
    inputs = [w.codes(node.inputs[0]), amounts, w.constant(f"{node.name}_value", np.array(value))]
    w.moved(node.output, "Pad", inputs, w.codes(node.output))


def _slice(w: OnnxWriter, node: Node) -> None:
    op = node.op
    assert isinstance(op, ops.Slice)
    ends = [begin + size * step for begin, size, step in zip(op.begin, op.size, op.step, strict=True)]
    ends = [end if end >= 0 else _BEFORE_THE_FIRST for end in ends]
    axes = tuple(range(len(ends)))
    parts = {"begin": nchw(op.begin), "end": nchw(tuple(ends)), "axes": axes, "step": nchw(op.step)}
    inputs = [w.constant(f"{node.name}_{part}", np.array(values, np.int64)) for part, values in parts.items()]
    w.moved(node.output, "Slice", [w.codes(node.inputs[0]), *inputs], w.codes(node.output))


def _resize(w: OnnxWriter, node: Node) -> None:
    """The nearest codes are gathered by row and by column: ONNX Runtime rounds their places in other ways."""
    op, x = node.op, w.graph.ins(node)[0]
    assert isinstance(op, ops.Resize)
    if op.kind == "nearest":
        rows, columns = (nearest_places(x.shape[1 + i], op.size[i], op.grid) for i in (0, 1))
        rows_name, columns_name = w.constant(f"{node.name}_rows", rows), w.constant(f"{node.name}_columns", columns)
        taken = w.moved(x.name, "Gather", [w.codes(x.name), rows_name], f"{node.name}_taken", axis=2)
        w.moved(node.output, "Gather", [taken, columns_name], w.codes(node.output), axis=3)
        return
    sizes = w.constant(f"{node.name}_size", np.array(nchw(w.graph.out(node).shape), np.int64))
    grid = {"mode": "linear", "coordinate_transformation_mode": op.grid}
    w.result(node, w.emit("Resize", [w.real(node, 0), "", "", sizes], f"{node.name}_real", **grid))


def _concat(w: OnnxWriter, node: Node) -> None:
    op = node.op
    assert isinstance(op, ops.Concat)
    axis = nchw_axis(op.axis, len(w.graph.out(node).shape))
    w.result(node, w.emit("Concat", [w.real(node, i) for i in range(len(node.inputs))], f"{node.name}_real", axis=axis))


ROWS: dict[type[ops.Op], Emitter] = {
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Pad: _pad,
    ops.Slice: _slice,
    ops.Concat: _concat,
    ops.Resize: _resize,
}
