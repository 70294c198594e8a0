"""ONNX operators: reductions and softmax, which combine elements along axes."""

from __future__ import annotations

import math

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node
from tinyscene.runtime.onnx_tensors import nchw
from tinyscene.runtime.ops import Shape

from .writer import Emitter, OnnxWriter

_EXTREMES = {"max": "ReduceMax", "min": "ReduceMin"}


def _reduce(w: OnnxWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Reduce)
    (_extreme if node.op.kind in _EXTREMES else _average)(w, node, node.op)


def _average(w: OnnxWriter, node: Node, op: ops.Reduce) -> None:
    """GlobalAveragePool, the mean that ONNX Runtime computes in integers; a sum is a mean with another output scale."""
    x, out = w.graph.ins(node)[0], w.graph.out(node)
    over_space = op.axes == ops.SPACE and len(x.shape) == 4
    codes = w.codes(x.name) if over_space else _reduced_last(w, node, op, x.shape)
    pooled = w.emit("GlobalAveragePool", [w.real(node, 0, codes)], f"{node.name}_real")
    scale, zero_point = w.parameters(out.name)
    if op.kind == "sum":
        mean_scale = np.float32(out.quant.scale[0]) / np.float32(math.prod(x.shape[axis] for axis in op.axes))
        scale = w.constant(f"{node.name}_mean_scale", np.array(mean_scale, np.float32))
    if over_space and op.keep_dims:  # Hexagon refuses a Reshape to the same shape
        w.emit("QuantizeLinear", [pooled, scale, zero_point], w.codes(out.name))
        return
    mean = w.emit("QuantizeLinear", [pooled, scale, zero_point], f"{node.name}_mean")
    target = w.constant(f"{node.name}_shape", np.array(nchw(out.shape), np.int64))
    w.moved(out.name, "Reshape", [mean, target], w.codes(out.name))


def _reduced_last(w: OnnxWriter, node: Node, op: ops.Reduce, shape: Shape) -> str:
    """Codes as (1, outputs, reduced elements, 1), so that the pool reduces the latter; outputs in the file's order."""
    stored = _file_axes(len(shape))[1:]
    kept = [axis for axis in _output_axes(op, len(shape)) if axis not in op.axes][1:]
    order = [*kept, *(axis for axis in stored if axis in op.axes)]
    groups = [[stored[0]]]  # axes that stay side by side
    for axis in stored[1:]:
        follows = order.index(axis) == order.index(groups[-1][-1]) + 1
        groups[-1 if follows else len(groups) :] = [[*groups[-1], axis] if follows else [axis]]
    places = sorted(range(len(groups)), key=lambda place: order.index(groups[place][0]))
    sizes = [math.prod(shape[axis] for axis in group) for group in groups]
    source, codes = node.inputs[0], w.codes(node.inputs[0])
    result = (1, *(math.prod(shape[axis] for axis in part) for part in (kept, op.axes)), 1)
    if len(groups) > 1:
        rows = w.constant(f"{node.name}_rows", np.array([1, *sizes, 1], np.int64))
        flat = w.moved(source, "Reshape", [codes, rows], f"{node.name}_flat")
        order_of_groups = [0, *(place + 1 for place in places), len(groups) + 1]
        codes = w.moved(source, "Transpose", [flat], f"{node.name}_turned", perm=order_of_groups)
        if (1, *(sizes[place] for place in places), 1) == result:
            return codes
    columns = w.constant(f"{node.name}_columns", np.array(result, np.int64))
    return w.moved(source, "Reshape", [codes, columns], f"{node.name}_reduced_last")


def _extreme(w: OnnxWriter, node: Node, op: ops.Reduce) -> None:
    """Computed on codes."""
    rank, out = len(w.graph.ins(node)[0].shape), node.output
    stored, wanted = _file_axes(rank), _output_axes(op, rank)
    got = [axis for axis in stored if op.keep_dims or axis not in op.axes]
    codes = w.codes(out) if got == wanted else f"{node.name}_reduced"
    axes = sorted(stored.index(axis) for axis in op.axes)
    source = w.codes(node.inputs[0])
    w.moved(out, _EXTREMES[op.kind], [source], codes, axes=axes, keepdims=int(op.keep_dims))
    if got != wanted:
        w.moved(out, "Transpose", [codes], w.codes(out), perm=[got.index(axis) for axis in wanted])


def _file_axes(rank: int) -> list[int]:
    """The graph's axes in the order of the file."""
    return list(nchw(tuple(range(rank))))


def _output_axes(op: ops.Reduce, rank: int) -> list[int]:
    """The input's axes that the output has, in the order of the file's output."""
    return list(nchw(tuple(axis for axis in range(rank) if op.keep_dims or axis not in op.axes)))


def _softmax(w: OnnxWriter, node: Node) -> None:
    """``beta`` is a part of the input's scale, so that the pattern that ONNX Runtime fuses stays."""
    op, (x,) = node.op, w.graph.ins(node)
    assert isinstance(op, ops.Softmax)
    scale, zero_point = w.parameters(x.name)
    if op.beta != 1.0:
        scaled = np.float32(x.quant.scale[0]) * np.float32(op.beta)
        scale = w.constant(f"{node.name}_beta_scale", np.array(scaled, np.float32))
    real = w.emit("DequantizeLinear", [w.codes(x.name), scale, zero_point], f"{node.name}_in0")
    rank = len(x.shape)
    w.result(node, w.emit("Softmax", [real], f"{node.name}_real", axis=1 if rank == 4 else rank - 1))


def _log_softmax(w: OnnxWriter, node: Node) -> None:
    rank = len(w.graph.out(node).shape)
    w.result(node, w.emit("LogSoftmax", [w.real(node, 0)], f"{node.name}_real", axis=1 if rank == 4 else rank - 1))


def _l2_norm(w: OnnxWriter, node: Node) -> None:
    axis = 1 if len(w.graph.out(node).shape) == 4 else -1
    w.result(node, w.emit("LpNormalization", [w.real(node, 0)], f"{node.name}_real", axis=axis, p=2))


ROWS: dict[type[ops.Op], Emitter] = {
    ops.L2Norm: _l2_norm,
    ops.LogSoftmax: _log_softmax,
    ops.Reduce: _reduce,
    ops.Softmax: _softmax,
}
