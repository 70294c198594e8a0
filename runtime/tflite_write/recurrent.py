"""TFLite operators: layers with a state from one step to the next.

TFLite keeps the state of an LSTM from one run to the next, the graph has none: engines get it reset before each run.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .. import ops
from ..graph import Node, Quant, Tensor
from ..lstm_ranges import GATE_INPUT_BITS
from .writer import Emitter, TfliteWriter

_MISSING = -1  # an optional input: peepholes, projection, layer normalisation


def _lstm(w: TfliteWriter, node: Node) -> None:
    op, (x, weight, recurrent, bias), out = node.op, w.graph.ins(node), w.graph.out(node)
    assert isinstance(op, ops.Lstm)
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    options.cellClip, options.projClip = op.cell_clip * 2.0**-op.cell_bits, 0.0
    options.timeMajor = options.asymmetricQuantizeInputs = options.diagonalRecurrentTensors = False
    weights = [number for tensor in (weight, recurrent) for number in _by_gate(w, tensor)]
    cell_quant, gate_quant = (Quant.per_tensor(2.0**-bits, 0) for bits in (op.cell_bits, GATE_INPUT_BITS))
    units = out.shape[2]
    states = [
        w.variable(f"{node.name}_hidden_state", (1, units), "int8", out.quant),
        w.variable(f"{node.name}_cell_state", (1, units), "int16", cell_quant),
    ]
    within = [w.intermediate(f"{node.name}_{gate}_gate", "int16", gate_quant) for gate in ops.GATES]
    within.append(w.intermediate(f"{node.name}_hidden", "int8", out.quant))
    inputs = [w.index[x.name], *weights, *[_MISSING] * 3, *_by_gate(w, bias), *[_MISSING] * 2, *states, *[_MISSING] * 4]
    code, kind = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOptions
    w.operator(code, 1, inputs, w.activation(out), options, kind.UnidirectionalSequenceLSTMOptions, within)


def _by_gate(w: TfliteWriter, tensor: Tensor) -> list[int]:
    """Numbers of the constants of each gate."""
    assert tensor.data is not None
    parts = zip(ops.GATES, tensor.data, tensor.quant.scale, strict=True)
    return [
        w.constant(f"{tensor.name}_{gate}", np.ascontiguousarray(part), Quant.per_tensor(scale, 0))
        for gate, part, scale in parts
    ]


ROWS: dict[type[ops.Op], Emitter] = {ops.Lstm: _lstm}
