"""Read the layers of a TFLite file, float or int8, for the counting rules.

Refuses files that do not parse or that contain several graphs, and operators with parameters that no published rule
counts.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tinyscene.runtime.cost import Array, Kind, Layer, layer_of
from tinyscene.runtime.ops import matrix
from tinyscene.runtime.tflite_schema import BatchMatMulOptions, Pool2DOptions

from ..errors import ExportError, require_counted
from ..formats.tflite_file import Operator, TfliteFile

_UNCOUNTED = {
    *{"TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE", "SVDF", "RNN", "LSTM", "IF", "WHILE", "CALL"},
    *{"UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "CUSTOM"},
}
_KINDS: dict[str, Kind] = {
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "conv",
    "FULLY_CONNECTED": "linear",
    "BATCH_MATMUL": "matmul",
    "MEAN": "mean",
    "AVERAGE_POOL_2D": "pool",
    "MAX_POOL_2D": "pool",
    "ADD": "add",
    "MUL": "mul",
}
_WITH_WEIGHT = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def tflite_layers(data: bytes, path: Path) -> list[Layer]:
    """One layer per operator; ``path`` is used in messages only.

    Raises:
        ExportError: the file is unreadable, has several graphs, or an operator has no counting rule.
    """
    source = TfliteLayers(data, str(path))
    return [source.layer(operator) for operator in source.operators if not source.unpacks(operator)]


class TfliteLayers(TfliteFile):
    """A file in which weights may be float16 constants that a DEQUANTIZE reads."""

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(data, where)
        self._packed = {op.output: op.inputs[0] for op in self.operators if self.unpacks(op)}

    def layer(self, operator: Operator) -> Layer:
        """The operator in the terms of the counting rules; raises ExportError where no rule counts it."""
        op, inputs = operator.kind, operator.inputs
        name = self.names[operator.output] if operator.outputs else f"operator {operator.index}"
        require_counted(self.where, name, op, _UNCOUNTED)
        if not operator.outputs or (op in _WITH_WEIGHT and len(inputs) < 2):
            raise ExportError(f"{self.where}, '{name}'", f"{op} without an output or a weight", got=len(inputs))
        stored = {i: array for i in inputs if i >= 0 and (array := self.stored(i)) is not None}
        kind = _KINDS.get(op, "other")
        if kind == "other" and any(c.ndim >= 2 and c.dtype not in (np.int32, np.int64) for c in stored.values()):
            raise ExportError(f"{self.where}, '{name}'", f"{op} with parameters has no counting rule")
        weight, bias = self.roles(op, inputs, stored)
        source = next((i for i in inputs if i >= 0 and i not in stored), inputs[0] if inputs else -1)
        return layer_of(
            name,
            op,
            kind,
            self.shape(operator.output),
            input_shape=self.shape(source) if source >= 0 else (),
            weight=stored.get(weight),
            bias=stored.get(bias),
            scale=self.scales(weight) if weight >= 0 else None,
            depthwise=op == "DEPTHWISE_CONV_2D",
            window=self._depth(operator) if op == "BATCH_MATMUL" else _window(operator, stored.get(weight)),
            constant_bytes=sum(c.nbytes for c in stored.values()),
        )

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
            return inputs[1], inputs[2] if len(inputs) > 2 else -1
        one = next(iter(stored), -1)
        if op == "MUL":
            return one, -1
        return (-1, one) if op in ("ADD", "SUB") else (-1, -1)


def _window(operator: Operator, kernel: Array | None) -> int:
    if kernel is not None and kernel.ndim == 4:
        return math.prod(kernel.shape[1:3])
    options = operator.options
    return options.filter_height * options.filter_width if isinstance(options, Pool2DOptions) else 1
