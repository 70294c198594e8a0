"""The layers of a TFLite file, float or int8, for the counting rules.

Refuses files that do not parse, that hold several graphs, or operators with parameters that no published rule counts.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from runtime.cost import Kind, Layer, layer_of

from .costs import require_counted, unreadable
from .errors import ExportError

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
_OP_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}


def tflite_layers(data: bytes, path: Path) -> list[Layer]:
    """One layer per operator; ``path`` is for messages only.

    Raises:
        ExportError: unreadable, several graphs, or an operator without a counting rule.
    """
    try:
        if data[4:8] != b"TFL3":
            raise ValueError("it has no TFL3 mark")
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
        if len(model.subgraphs) != 1:
            raise ValueError(f"it holds {len(model.subgraphs)} graphs, expected one")
        source = _Source(model)
        layers = [source.layer(operator, path) for operator in model.subgraphs[0].operators]
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, MemoryError, struct.error) as problem:
        raise unreadable(path, "TFLite", problem) from problem
    return layers


class _Source:
    """Tensors and constants of the one graph of a TFLite model."""

    def __init__(self, model: Any) -> None:
        self.model, self.tensors = model, model.subgraphs[0].tensors
        self.producers = {int(o): op for op in model.subgraphs[0].operators for o in op.outputs}

    def layer(self, operator: Any, path: Path) -> Layer:
        op = self.op_name(operator)
        output = self.tensors[operator.outputs[0]]
        name = output.name.decode() if isinstance(output.name, bytes) else str(output.name)
        require_counted(path, name, op, _UNCOUNTED)
        inputs = [int(i) for i in operator.inputs]
        stored = {i: array for i in inputs if i >= 0 and (array := self.constant(i)) is not None}
        kind = _KINDS.get(op, "other")
        if kind == "other" and any(c.ndim >= 2 and c.dtype not in (np.int32, np.int64) for c in stored.values()):
            raise ExportError(f"{path}, '{name}'", f"{op} with parameters has no counting rule")
        weight, bias = self.roles(op, inputs, stored)
        return layer_of(
            name,
            op,
            kind,
            self.shape(operator.outputs[0]),
            input_shape=self.shape(next((i for i in inputs if i >= 0 and i not in stored), inputs[0])),
            weight=stored.get(weight),
            bias=stored.get(bias),
            scale=self.scale(weight),
            depthwise=op == "DEPTHWISE_CONV_2D",
            window=_window(operator, stored.get(weight)),
            constant_bytes=sum(c.nbytes for c in stored.values()),
        )

    def op_name(self, operator: Any) -> str:
        code = self.model.operatorCodes[operator.opcodeIndex]
        return _OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.tensors[index].shape
        return () if shape is None else tuple(int(n) for n in shape)

    def constant(self, index: int) -> np.ndarray | None:
        """The stored array of a tensor, looked for through DEQUANTIZE (float16 weights)."""
        tensor = self.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        if data is not None and len(data):
            values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), _DTYPES[tensor.type])
            return values.reshape(self.shape(index))
        producer = self.producers.get(index)
        seen_through = producer is not None and self.op_name(producer) == "DEQUANTIZE"
        return self.constant(int(producer.inputs[0])) if seen_through else None

    def scale(self, index: int) -> np.ndarray | None:
        quant = self.tensors[index].quantization if index >= 0 else None
        return None if quant is None or quant.scale is None else np.asarray(quant.scale)

    def roles(self, op: str, inputs: list[int], stored: dict[int, np.ndarray]) -> tuple[int, int]:
        """Tensor numbers of weight and bias, -1 where there is none."""
        if op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            return inputs[1], inputs[2] if len(inputs) > 2 else -1
        one = next(iter(stored), -1)
        if op == "MUL":
            return one, -1
        return (-1, one) if op in ("ADD", "SUB") else (-1, -1)


def _window(operator: Any, kernel: np.ndarray | None) -> int:
    if kernel is not None and kernel.ndim == 4:
        return int(np.prod(kernel.shape[1:3]))
    options = operator.builtinOptions
    return int(options.filterHeight * options.filterWidth) if hasattr(options, "filterHeight") else 1
