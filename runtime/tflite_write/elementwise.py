"""TFLite operators: sums, products and functions of single elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .. import ops
from ..graph import Node
from .writer import Emitter, TfliteWriter, activation_of


def _elementwise(name: str) -> Callable[[TfliteWriter, Node], None]:
    """ADD, SUB or MUL."""

    def emit(w: TfliteWriter, node: Node) -> None:
        options = getattr(schema, f"{name.title()}OptionsT")()
        options.fusedActivationFunction = activation_of(ops.has_relu(node.op))
        options.potScaleInt16 = False
        output = w.activation(w.graph.out(node))
        kind = getattr(schema.BuiltinOptions, f"{name.title()}Options")
        w.operator(getattr(schema.BuiltinOperator, name), 2, w.inputs(node), output, options, kind)

    return emit


# Operator, its version for int8, and the name of its options, for each function.
_FUNCTIONS: dict[str, tuple[str, int, str]] = {
    "relu": ("RELU", 2, ""),
    "relu6": ("RELU6", 2, ""),
    "relu_0_to_1": ("RELU_0_TO_1", 1, ""),
    "relu_n1_to_1": ("RELU_N1_TO_1", 1, ""),
    "leaky_relu": ("LEAKY_RELU", 2, "LeakyReluOptions"),
    "hard_swish": ("HARD_SWISH", 1, "HardSwishOptions"),
    "logistic": ("LOGISTIC", 2, ""),
    "tanh": ("TANH", 2, ""),
    "elu": ("ELU", 1, ""),
    "gelu": ("GELU", 2, "GeluOptions"),
    "gelu_tanh": ("GELU", 2, "GeluOptions"),
    "exp": ("EXP", 2, "ExpOptions"),
    "log": ("LOG", 2, ""),
    "sqrt": ("SQRT", 2, ""),
    "abs": ("ABS", 2, "AbsOptions"),
    "neg": ("NEG", 1, "NegOptions"),
    "requantise": ("QUANTIZE", 2, "QuantizeOptions"),
}


def _lookup(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Lookup)
    name, version, options_name = _FUNCTIONS[node.op.function]
    options: Any = getattr(schema, f"{options_name}T")() if options_name else None
    kind = getattr(schema.BuiltinOptions, options_name or "NONE")
    if node.op.function == "leaky_relu":
        options.alpha = node.op.alpha
    elif name == "GELU":
        options.approximate = node.op.function == "gelu_tanh"
    output = w.activation(w.graph.out(node))
    w.operator(getattr(schema.BuiltinOperator, name), version, w.inputs(node), output, options, kind)


def _table(w: TfliteWriter, node: Node) -> None:
    """CAST, ADD and GATHER: each code plus 128 is the index of its output code."""
    (x, table), types, kinds = w.graph.ins(node), schema.TensorType, schema.BuiltinOptions
    offset = w.constant(f"{node.name}_offset", np.array([128], np.int32))
    wide, index = (w.index_tensor(f"{node.name}_{part}", x.shape) for part in ("wide", "index"))
    cast = schema.CastOptionsT()
    cast.inDataType, cast.outDataType = types.INT8, types.INT32
    w.operator(schema.BuiltinOperator.CAST, 1, [w.index[x.name]], wide, cast, kinds.CastOptions)
    add = schema.AddOptionsT()
    add.potScaleInt16 = False
    w.operator(schema.BuiltinOperator.ADD, 1, [wide, offset], index, add, kinds.AddOptions)
    output, inputs = w.activation(w.graph.out(node)), [w.index[table.name], index]
    w.operator(schema.BuiltinOperator.GATHER, 2, inputs, output, schema.GatherOptionsT(), kinds.GatherOptions)


def _prelu(w: TfliteWriter, node: Node) -> None:
    output = w.activation(w.graph.out(node))
    w.operator(schema.BuiltinOperator.PRELU, 1, w.inputs(node), output, None, schema.BuiltinOptions.NONE)


def _extremum(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Extremum)
    codes, output = schema.BuiltinOperator, w.activation(w.graph.out(node))
    code = codes.MAXIMUM if node.op.kind == "max" else codes.MINIMUM
    kind = schema.BuiltinOptions.MaximumMinimumOptions
    w.operator(code, 2, w.inputs(node), output, schema.MaximumMinimumOptionsT(), kind)


def _squared_difference(w: TfliteWriter, node: Node) -> None:
    output, kind = w.activation(w.graph.out(node)), schema.BuiltinOptions.SquaredDifferenceOptions
    code = schema.BuiltinOperator.SQUARED_DIFFERENCE
    w.operator(code, 2, w.inputs(node), output, schema.SquaredDifferenceOptionsT(), kind)


def _rsqrt(w: TfliteWriter, node: Node) -> None:
    output = w.activation(w.graph.out(node))
    w.operator(schema.BuiltinOperator.RSQRT, 2, w.inputs(node), output, None, schema.BuiltinOptions.NONE)


ROWS: dict[type[ops.Op], Emitter] = {
    ops.Add: _elementwise("ADD"),
    ops.Sub: _elementwise("SUB"),
    ops.Mul: _elementwise("MUL"),
    ops.SquaredDifference: _squared_difference,
    ops.Extremum: _extremum,
    ops.Rsqrt: _rsqrt,
    ops.PRelu: _prelu,
    ops.Lookup: _lookup,
    ops.Table: _table,
}
