"""Read the layers of a TFLite file, float or int8, for the counting rules.

An operator that no published rule counts becomes a layer of kind ``uncounted``, with its parameters: of a loop and of a
condition the graphs that they run are counted, each once, and they themselves are not. Refuses files that do not parse.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tinyscene.runtime import tflite_lstm
from tinyscene.runtime.cost import Array, Kind, Layer, counted_once, layer_of
from tinyscene.runtime.ops import matrix
from tinyscene.runtime.tflite_options import BatchMatMulOptions, Pool2DOptions, named_graphs
from tinyscene.runtime.tflite_schema import TfliteTables
from tinyscene.runtime.tflite_tables import read_graphs

from ..errors import ExportError, no_counting_rule
from ..formats.tflite_file import Operator, TfliteFile

_UNCOUNTED = {
    *{"CONV_3D", "CONV_3D_TRANSPOSE", "LSTM", "IF", "WHILE", "CALL", "CUSTOM"},
    *{"BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"},
}
_KINDS: dict[str, Kind] = {
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "conv",
    "TRANSPOSE_CONV": "deconv",
    "FULLY_CONNECTED": "linear",
    "BATCH_MATMUL": "matmul",
    "MEAN": "mean",
    "AVERAGE_POOL_2D": "pool",
    "MAX_POOL_2D": "pool",
    "ADD": "add",
    "MUL": "mul",
}
# Positions of the data, the weight and the bias among the inputs.
_WITH_WEIGHT = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), (0, 1, 2)),
    "TRANSPOSE_CONV": (2, 1, 3),
}
# Positions of the weights and of the biases of layers with a state: all weights are multiplied once for each step.
_RECURRENT = {
    tflite_lstm.KIND: (tflite_lstm.WEIGHTS, tflite_lstm.BIASES),
    **dict.fromkeys(("SVDF", "RNN", "UNIDIRECTIONAL_SEQUENCE_RNN"), ((1, 2), (3,))),
}
# Operators whose constants are parameters, though no rule counts a multiplication with them, and those that only move.
_WITH_OPERANDS = {"SUB", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU", "GATHER"}
_WITHOUT_OUTPUT = {"ASSIGN_VARIABLE", "CALL_ONCE"}  # what they write is a variable
_MOVING = {
    *{"CONCATENATION", "PACK", "PAD", "PADV2", "RESHAPE", "TRANSPOSE", "QUANTIZE", "DEQUANTIZE"},
    *{"VAR_HANDLE", "READ_VARIABLE", *_WITHOUT_OUTPUT},
}


def tflite_layers(data: bytes, path: Path) -> list[Layer]:
    """One layer per operator; ``path`` is used in messages only.

    Raises:
        ExportError: the file is unreadable.
    """
    return layers_of(tflite_graphs(data, str(path)))


def layers_of(graphs: list[TfliteLayers]) -> list[Layer]:
    return [graph.named(operator) for graph in graphs for operator in graph.layers]


def notes_on(graphs: list[TfliteLayers]) -> tuple[str, ...]:
    """A sentence about graphs that operators run, where there are any."""
    others = len(graphs) - 1
    if not others:
        return ()
    runs = f"{others} graphs that operators run are" if others > 1 else "1 graph that operators run is"
    return (f"{runs} counted once, however often {'they run' if others > 1 else 'it runs'}",)


def tflite_graphs(data: bytes, where: str) -> list[TfliteLayers]:
    """The main graph of a file, then those that operators run, each once.

    Raises:
        ExportError: the file is unreadable.
    """
    model = read_graphs(data, where, ExportError)
    first: dict[int, tuple[int, int]] = {}
    graphs: dict[int, TfliteLayers] = {}
    waiting = [0]
    for number in waiting:
        if number not in graphs:
            graphs[number] = TfliteLayers(model, where, number, first)
            waiting += [other for op in graphs[number].operators for other in named_graphs(op.options)]
    return list(graphs.values())


class TfliteLayers(TfliteFile):
    """A graph in which weights may be float16 constants that a DEQUANTIZE reads.

    Args:
        first: by buffer the graph and the operator that reads it first; this graph's are added.
    """

    def __init__(self, model: TfliteTables, where: str, number: int, first: dict[int, tuple[int, int]]) -> None:
        super().__init__(model, where, number)
        if number:
            self.names = [f"{self.graph.name or 'graph'} {number}/{name}" for name in self.names]
        self._packed = {op.output: op.inputs[0] for op in self.operators if self.unpacks(op)}
        self.layers = [op for op in self.operators if not self.unpacks(op)]
        self._first = first
        for op in self.layers:
            for index in self._stored_inputs(op):
                first.setdefault(self._buffer(index), (number, op.index))

    def _is_first(self, index: int, operator: Operator) -> bool:
        """Whether this operator is the first in the file that reads a constant."""
        return self._first[self._buffer(index)] == (self.number, operator.index)

    def _buffer(self, index: int) -> int:
        """Number of the buffer with a constant's bytes; several tensors may have the same."""
        return self.tensor(self._packed.get(index, index)).buffer

    def named(self, operator: Operator) -> Layer:
        """As :meth:`layer`; an operator that no rule counts is of kind ``uncounted``, with all its constants."""
        try:
            return self.layer(operator)
        except ExportError as problem:
            if not problem.unsupported:
                raise
        own = [i for i in self._stored_inputs(operator) if self._is_first(i, operator)]
        weights, n_bytes = sum(math.prod(self.shape(i)) for i in own), sum(self._n_bytes(i) for i in own)
        name, shape = self._title(operator), self._output_shape(operator)
        return Layer(name, operator.kind, "uncounted", shape, weights=weights, constant_bytes=n_bytes)

    def _title(self, operator: Operator) -> str:
        if operator.outputs and self.names[operator.output]:
            return self.names[operator.output]
        return f"{f'graph {self.number}, ' if self.number else ''}operator {operator.index}"

    def _output_shape(self, operator: Operator) -> tuple[int, ...]:
        return self.shape(operator.output) if operator.outputs else ()

    def _stored_inputs(self, operator: Operator) -> list[int]:
        return [i for i in dict.fromkeys(operator.inputs) if i >= 0 and self.is_constant(i)]

    def _n_bytes(self, index: int) -> int:
        return len(self.model.buffers[self._buffer(index)].data)

    def layer(self, operator: Operator) -> Layer:
        """The operator in the terms of the counting rules; raises ExportError where no rule counts it."""
        op, inputs = operator.kind, operator.inputs
        name = self._title(operator)
        if op in _UNCOUNTED or op.startswith("operator code"):
            raise no_counting_rule(self.where, name, op)
        complete = operator.outputs or op in _WITHOUT_OUTPUT
        if not complete or (op in _WITH_WEIGHT and len(inputs) <= _WITH_WEIGHT[op][0] + 1):
            raise ExportError(f"{self.where}, '{name}'", f"{op} without an output or a weight", got=len(inputs))
        stored = {i: array for i in self._stored_inputs(operator) if (array := self.stored(i)) is not None}
        kind = _KINDS.get(op, "linear" if op in _RECURRENT else "other")
        weighty = any(c.ndim >= 2 and c.dtype not in (np.int32, np.int64) for c in stored.values())
        if kind == "other" and weighty and op not in _WITH_OPERANDS | _MOVING:
            raise no_counting_rule(self.where, name, f"{op} with parameters")
        if op in _RECURRENT:
            return self._recurrent(operator, name, stored)
        weight, bias = self.roles(op, inputs, stored)
        source = next((i for i in inputs if i >= 0 and i not in stored), inputs[0] if inputs else -1)
        again = [i for i in stored if not self._is_first(i, operator)]
        layer = layer_of(
            name,
            op,
            kind,
            self._output_shape(operator),
            input_shape=self.shape(source) if source >= 0 else (),
            weight=stored.get(weight),
            bias=stored.get(bias),
            scale=self.scales(weight) if weight >= 0 else None,
            depthwise=op == "DEPTHWISE_CONV_2D",
            window=self._depth(operator) if op == "BATCH_MATMUL" else _window(operator, stored.get(weight)),
            constant_bytes=sum(map(self._n_bytes, stored)),
        )
        parameters = sum(stored[i].size for i in again if i in (weight, bias))
        return counted_once(layer, parameters, sum(map(self._n_bytes, again)))

    def _recurrent(self, operator: Operator, name: str, stored: dict[int, Array]) -> Layer:
        """One linear layer of all weights; raises ExportError for a layer with other constants, such as peepholes."""
        inputs, places = operator.inputs, _RECURRENT[operator.kind]
        weights, biases = ([inputs[at] for at in part if at < len(inputs) and inputs[at] >= 0] for part in places)
        if len(weights) < len(places[0]) or {*weights, *biases} != stored.keys():
            raise no_counting_rule(self.where, name, f"{operator.kind} with other parts than weights and biases")
        layer = layer_of(
            name,
            operator.kind,
            "linear",
            self.shape(operator.output),
            input_shape=self.shape(inputs[0]),
            weight=np.concatenate([stored[i].ravel() for i in weights]),
            bias=np.concatenate([stored[i].ravel() for i in biases]) if biases else None,
            constant_bytes=sum(map(self._n_bytes, stored)),
        )
        again = [i for i in stored if not self._is_first(i, operator)]
        return counted_once(layer, sum(stored[i].size for i in again), sum(map(self._n_bytes, again)))

    def _depth(self, operator: Operator) -> int:
        """Elements that each output of a product of activations sums."""
        options, shape = operator.options, self.shape(operator.inputs[0]) if operator.inputs[0] >= 0 else ()
        transposed = isinstance(options, BatchMatMulOptions) and options.adj_x
        return matrix(shape, transposed)[1] if len(shape) > 1 else 1

    def unpacks(self, operator: Operator) -> bool:
        """Whether the operator only converts a constant to float32; it is not a layer of the network."""
        if operator.kind != "DEQUANTIZE" or len(operator.inputs) != 1 or len(operator.outputs) != 1:
            return False
        return operator.inputs[0] >= 0 and self.is_stored(operator.inputs[0])

    def is_constant(self, index: int) -> bool:
        """Whether the tensor is stored, as it is or packed as float16."""
        return index in self._packed or self.is_stored(index)

    def stored(self, index: int) -> Array | None:
        """The constant of a tensor, or the one that it is converted from."""
        return self.constant(self._packed.get(index, index))

    def roles(self, op: str, inputs: tuple[int, ...], stored: dict[int, Array]) -> tuple[int, int]:
        """Tensor numbers of weight and bias; -1 if there is none."""
        if op in _WITH_WEIGHT:
            _, weight, bias = _WITH_WEIGHT[op]
            return inputs[weight], inputs[bias] if len(inputs) > bias else -1
        one = next((i for i, array in stored.items() if array.dtype not in (np.int32, np.int64)), -1)
        if op == "MUL":
            return one, -1
        return (-1, one) if op == "ADD" or op in _WITH_OPERANDS else (-1, -1)


def _window(operator: Operator, kernel: Array | None) -> int:
    if kernel is not None and kernel.ndim == 4:
        return math.prod(kernel.shape[1:3])
    options = operator.options
    return options.filter_height * options.filter_width if isinstance(options, Pool2DOptions) else 1
