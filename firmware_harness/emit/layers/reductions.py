"""Calls in C: means and softmax, which combine elements along axes."""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    mean_double,
    mean_single,
)
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.lookup_tables import exponentials_double, exponentials_single

from ..records import (
    ByRule,
    Fields,
    Layer,
    Values,
    output_fields,
    scales_of,
)
from .common import Row


def _mean(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Mean)
    _, height, width, channels = x.shape
    if op.over == "space":
        size, stride, count, step = channels, 1, height * width, channels
    else:
        size, stride, count, step = height * width, channels, channels, 1
    (scale,) = scales_of(mean_double(x.quant, out.quant, count))
    single = mean_single(x.quant, out.quant, count)
    fields: Fields = {
        "size": size,
        "stride": stride,
        "count": count,
        "step": step,
        "by_rule": ByRule(
            {"in_zero_point": x.quant.zero_point, "rescale": scale},
            {"factor": float(single.factor), "offset": float(single.offset)},
        ),
        "out": output_fields(out.quant, relu=False),
    }
    return Layer("ts_mean", "TsMean", fields)


def _softmax(graph: Graph, node: Node) -> Layer:
    (x,), size = graph.ins(node), graph.out(node).shape[-1]
    double = Values("int32_t", tuple(exponentials_double(x.quant).tolist()))
    single = Values("float", tuple(exponentials_single(x.quant).tolist()))
    tables = ByRule({"exponentials": double}, {"exponentials": single})
    return Layer("ts_softmax", "TsSoftmax", {"rows": x.n_bytes // size, "size": size, "by_rule": tables})


ROWS: dict[type, Row] = {ops.Mean: _mean, ops.Softmax: _softmax}
