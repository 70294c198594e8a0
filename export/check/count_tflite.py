"""Read the layers of a TFLite file, float or int8, for the counting rules.

Refuses files that do not parse or that contain several graphs, and operators with parameters that no published rule
counts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyscene.runtime.cost import Array, Kind, Layer, layer_of

from ..errors import ExportError, require_counted, unreadable
from ..formats.tflite_file import DAMAGE, Operator, TfliteFile

_UNCOUNTED = {
    *{"TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE", "BATCH_MATMUL", "SVDF", "RNN", "LSTM", "IF", "WHILE", "CALL"},
    *{"UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "CUSTOM"},
}
_KINDS: dict[str, Kind] = {
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "conv",
    "FULLY_CONNECTED": "linear",
    "MEAN": "mean",
    "AVERAGE_POOL_2D": "pool",
    "MAX_POOL_2D": "pool",
    "ADD": "add",
    "MUL": "mul",
}


def tflite_layers(data: bytes, path: Path) -> list[Layer]:
    """One layer per operator; ``path`` is used in messages only.

    Raises:
        ExportError: the file is unreadable, has several graphs, or an operator has no counting rule.
    """
    source = TfliteLayers(data, str(path))
    try:
        return [source.layer(operator) for operator in source.operators if not source.unpacks(operator)]
    except DAMAGE as problem:
        raise unreadable(str(path), "TFLite", len(data), problem) from problem


class TfliteLayers(TfliteFile):
    """A file in which weights may be float16 constants that a DEQUANTIZE reads."""

    def layer(self, operator: Operator) -> Layer:
        """The operator in the terms of the counting rules; raises ExportError where no rule counts it."""
        op, inputs, name = operator.kind, operator.inputs, self.names[operator.output]
        require_counted(self.where, name, op, _UNCOUNTED)
        stored = {i: array for i in inputs if i >= 0 and (array := self.stored(i)) is not None}
        kind = _KINDS.get(op, "other")
        if kind == "other" and any(c.ndim >= 2 and c.dtype not in (np.int32, np.int64) for c in stored.values()):
            raise ExportError(f"{self.where}, '{name}'", f"{op} with parameters has no counting rule")
        weight, bias = self.roles(op, inputs, stored)
        return layer_of(
            name,
            op,
            kind,
            self.shape(operator.output),
            input_shape=self.shape(next((i for i in inputs if i >= 0 and i not in stored), inputs[0])),
            weight=stored.get(weight),
            bias=stored.get(bias),
            scale=self.scales(weight) if weight >= 0 else None,
            depthwise=op == "DEPTHWISE_CONV_2D",
            window=_window(operator, stored.get(weight)),
            constant_bytes=sum(c.nbytes for c in stored.values()),
        )

    def unpacks(self, operator: Operator) -> bool:
        """Whether the operator only converts a constant to float32; it is not a layer of the network."""
        return operator.kind == "DEQUANTIZE" and self.constant(operator.inputs[0]) is not None

    def stored(self, index: int) -> Array | None:
        """The constant of a tensor, or the one that it is converted from."""
        values = self.constant(index)
        if values is not None:
            return values
        packed = next((op.inputs[0] for op in self.operators if index in op.outputs and self.unpacks(op)), None)
        return None if packed is None else self.constant(packed)

    def roles(self, op: str, inputs: tuple[int, ...], stored: dict[int, Array]) -> tuple[int, int]:
        """Tensor numbers of weight and bias; -1 if there is none."""
        if op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            return inputs[1], inputs[2] if len(inputs) > 2 else -1
        one = next(iter(stored), -1)
        if op == "MUL":
            return one, -1
        return (-1, one) if op in ("ADD", "SUB") else (-1, -1)


def _window(operator: Operator, kernel: Array | None) -> int:
    if kernel is not None and kernel.ndim == 4:
        return int(np.prod(kernel.shape[1:3]))
    options = operator.options
    return int(options.filterHeight * options.filterWidth) if hasattr(options, "filterHeight") else 1
