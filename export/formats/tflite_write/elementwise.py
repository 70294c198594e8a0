"""TFLite operators: sums, products and functions of single elements."""

from __future__ import annotations

from collections.abc import Callable

from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Node

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


_FUNCTIONS = {"relu": "RELU", "relu6": "RELU6", "logistic": "LOGISTIC", "requantise": "QUANTIZE"}


def _lookup(w: TfliteWriter, node: Node) -> None:
    assert isinstance(node.op, ops.Lookup)
    name = _FUNCTIONS[node.op.function]
    options, kind = None, schema.BuiltinOptions.NONE
    if name == "QUANTIZE":
        options, kind = schema.QuantizeOptionsT(), schema.BuiltinOptions.QuantizeOptions
    output = w.activation(w.graph.out(node))
    w.operator(getattr(schema.BuiltinOperator, name), 2, w.inputs(node), output, options, kind)


def _rsqrt(w: TfliteWriter, node: Node) -> None:
    output = w.activation(w.graph.out(node))
    w.operator(schema.BuiltinOperator.RSQRT, 2, w.inputs(node), output, None, schema.BuiltinOptions.NONE)


ROWS: dict[type[ops.Op], Emitter] = {
    ops.Add: _elementwise("ADD"),
    ops.Sub: _elementwise("SUB"),
    ops.Mul: _elementwise("MUL"),
    ops.Rsqrt: _rsqrt,
    ops.Lookup: _lookup,
}
