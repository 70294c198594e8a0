"""Calls in C: reductions and softmax, which combine elements along axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    mean_double,
    mean_single,
    sum_double,
    sum_single,
)
from tinyscene.runtime.graph import Graph, Node, Tensor
from tinyscene.runtime.lookup_tables import LogSoftmax, exponentials_double, exponentials_single
from tinyscene.runtime.ops import Shape

from ..records import (
    ByRule,
    Fields,
    Layer,
    Values,
    output_fields,
    scales_of,
)
from .common import AXES, Row


@dataclass(frozen=True)
class _Axis:
    """Adjacent axes that are all kept or all reduced."""

    reduced: bool
    size: int
    step: int  # elements of the input between two elements of the axis


def _collapsed(op: ops.Reduce, shape: Shape) -> list[_Axis]:
    axes: list[_Axis] = []
    for axis, size in enumerate(shape[1:], start=1):
        reduced, step = axis in op.axes, math.prod(shape[axis + 1 :])
        if axes and axes[-1].reduced == reduced:
            size *= axes.pop().size
        axes.append(_Axis(reduced, size, step))
    return axes


def _reduce(graph: Graph, node: Node) -> Layer:
    """One axis kept and one reduced have a kernel of their own."""
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Reduce)
    axes = _collapsed(op, x.shape)
    kept, reduced = ([axis for axis in axes if axis.reduced == wanted] for wanted in (False, True))
    count = x.n_bytes // out.n_bytes
    if ops.selects_codes(op):
        flip = -1 if op.kind == "min" else 0
        extreme: Fields = {"size": out.n_bytes, "count": count, "flip": flip, "axes": _axes(kept, reduced)}
        return Layer("ts_extreme", "TsExtreme", extreme)
    if len(kept) <= 1 and len(reduced) == 1:
        stride = kept[0].step if kept else count
        return Layer("ts_mean", "TsMean", _total(op, x, out, stride, reduced[0].step))
    return Layer("ts_reduce", "TsReduce", {"mean": _total(op, x, out, 0, 0), "axes": _axes(kept, reduced)})


def _total(op: ops.Reduce, x: Tensor, out: Tensor, stride: int, step: int) -> Fields:
    """Fields of the record TsMean."""
    count = x.n_bytes // out.n_bytes
    (scale,) = scales_of(
        mean_double(x.quant, out.quant, count) if op.kind == "mean" else sum_double(x.quant, out.quant)
    )
    single = (mean_single if op.kind == "mean" else sum_single)(x.quant, out.quant, count)
    return {
        "size": out.n_bytes,
        "stride": stride,
        "count": count,
        "step": step,
        "by_rule": ByRule(
            {"in_zero_point": x.quant.zero_point, "rescale": scale},
            {"factor": float(single.factor), "offset": float(single.offset)},
        ),
        "out": output_fields(out.quant, relu=False),
    }


def _axes(kept: list[_Axis], reduced: list[_Axis]) -> Fields:
    """Fields of the record TsAxes; axes of one element stand before those that there are."""
    one = _Axis(False, 1, 0)
    every = [axis for part in (kept, reduced) for axis in [one] * (AXES - len(part)) + part]
    return {
        "sizes": Values("int32_t", tuple(axis.size for axis in every)),
        "steps": Values("int32_t", tuple(axis.step for axis in every)),
    }


def _softmax(graph: Graph, node: Node) -> Layer:
    op, (x,), size = node.op, graph.ins(node), graph.out(node).shape[-1]
    assert isinstance(op, ops.Softmax)
    double = Values("int32_t", tuple(exponentials_double(x.quant, op.beta).tolist()))
    single = Values("float", tuple(exponentials_single(x.quant, op.beta).tolist()))
    tables = ByRule({"exponentials": double}, {"exponentials": single})
    return Layer("ts_softmax", "TsSoftmax", {"rows": x.n_bytes // size, "size": size, "by_rule": tables})


def _log_softmax(graph: Graph, node: Node) -> Layer:
    (x,), size = graph.ins(node), graph.out(node).shape[-1]
    constants = LogSoftmax.of(x.quant)
    multiplier, shift = constants.reverse
    fields: Fields = {
        "rows": x.n_bytes // size,
        "size": size,
        "exponentials": Values("int32_t", tuple(constants.exponentials.tolist())),
        "differences": Values("int32_t", tuple(constants.differences.tolist())),
        "reverse_multiplier": multiplier,
        "reverse_shift": -shift,
        "farthest": constants.farthest,
    }
    return Layer("ts_log_softmax", "TsLogSoftmax", fields)


def _l2_norm(graph: Graph, node: Node) -> Layer:
    (x,), size = graph.ins(node), graph.out(node).shape[-1]
    fields: Fields = {"rows": x.n_bytes // size, "size": size, "in_zero_point": x.quant.zero_point}
    return Layer("ts_l2_norm", "TsL2Norm", fields)


ROWS: dict[type, Row] = {ops.L2Norm: _l2_norm, ops.LogSoftmax: _log_softmax, ops.Reduce: _reduce, ops.Softmax: _softmax}
