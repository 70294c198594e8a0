"""Calls in C: layers with a state from one step to the next."""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.gates import TABLE
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.lstm import Factor, lstm_factors

from ..records import (
    ByRule,
    Fields,
    Layer,
    Values,
    codes_of,
    output_fields,
)
from .common import Row

CELL_BYTES = 2  # of one cell state


def _lstm(graph: Graph, node: Node) -> Layer:
    op, (x, weight, recurrent, bias), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Lstm)
    quants = (x.quant, weight.quant, recurrent.quant, out.quant)
    double, single = lstm_factors(op, *quants, "double"), lstm_factors(op, *quants, "single")
    pairs = zip(double.of_input, double.of_hidden, strict=True)
    _, steps, units = out.shape
    fields: Fields = {
        "steps": steps,
        "inputs": x.shape[2],
        "units": units,
        "in_zero_point": x.quant.zero_point,
        "cell_bits": op.cell_bits,
        "cell_low": -op.cell_clip if op.cell_clip else -(2**15),
        "cell_high": op.cell_clip or 2**15 - 1,
        "weight": Values("int8_t", tuple(codes_of(weight).ravel().tolist())),
        "recurrent": Values("int8_t", tuple(codes_of(recurrent).ravel().tolist())),
        "bias": Values("int32_t", tuple(codes_of(bias).ravel().tolist())),
        "factors": Values("int32_t", tuple(number for pair in pairs for factor in pair for number in factor)),
        "by_rule": ByRule(
            {
                "keep": _fixed_point(double.keep),
                "add": _fixed_point(double.add),
                "table": Values("uint16_t", tuple(TABLE.tolist())),
                "hidden": _fixed_point(double.hidden),
            },
            {
                "keep_bits": single.keep_bits,
                "add_bits": single.add_bits,
                "hidden": _fixed_point(single.hidden),
            },
        ),
        "out": output_fields(out.quant, relu=False),
    }
    return Layer("ts_lstm", "TsLstm", fields, scratch_bytes=CELL_BYTES * units)


def _fixed_point(factor: Factor) -> Fields:
    return {"multiplier": factor[0], "shift": factor[1]}


ROWS: dict[type, Row] = {ops.Lstm: _lstm}
