"""Parse a TFLite file: tensors with unique names, operators by name.

A file may have float32 or uint8 inputs and outputs around an int8 network; :class:`Int8File` removes the QUANTIZE and
DEQUANTIZE at its ends, so that inputs and outputs are int8 codes. Refuses files that do not parse or that contain
several graphs; :class:`Int8File` also refuses more than one input or output.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime.graph import Quant

from ..errors import ExportError, unreadable

_OP_NAMES: dict[int, str] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
_TYPE_NAMES: dict[int, str] = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")
}
_DTYPES = {name: np.dtype(name) for name in ("int8", "uint8", "int16", "int32", "int64", "float16", "float32")}
# Raised by flatbuffers, the generated classes and arithmetic on their values for bytes that are not a TFLite file.
DAMAGE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, struct.error)


@dataclass(frozen=True)
class Operator:
    """One operator: its number in the file, its name, and tensor numbers (-1: an optional input that is missing)."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any  # one of the option classes generated from the schema, which are not typed

    @property
    def output(self) -> int:
        """The first output; operators of an :class:`Int8File` have no other."""
        return self.outputs[0]


class TfliteFile:
    """The only graph of a file, float or int8.

    Args:
        where: name of the file in messages.

    Raises:
        ExportError: see the module's refusals.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        try:
            self._parse(data)
        except DAMAGE as problem:
            raise unreadable(where, "TFLite", len(data), problem) from problem

    def _parse(self, data: bytes) -> None:
        if data[4:8] != b"TFL3":
            raise ValueError("no TFL3 identifier")
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
        if len(self.model.subgraphs) != 1:
            raise ValueError(f"{len(self.model.subgraphs)} graphs instead of one")
        (self.graph,) = self.model.subgraphs
        self.names = _unique([_text(tensor.name) for tensor in self.graph.tensors])
        for ends in (self.graph.inputs, self.graph.outputs):
            for number in [] if ends is None else ends:
                self.graph.tensors[number]  # an index beyond the list is a damaged file
        for tensor in self.graph.tensors:
            self.model.buffers[tensor.buffer]
        self.operators = [self._operator(index, raw) for index, raw in enumerate(self.graph.operators)]

    def _operator(self, index: int, raw: Any) -> Operator:
        code = self.model.operatorCodes[raw.opcodeIndex]
        kind = _OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
        inputs, outputs = (tuple(int(i) for i in ([] if ends is None else ends)) for ends in (raw.inputs, raw.outputs))
        for number in (*inputs, *outputs):
            self.graph.tensors[number]  # an index beyond the list is a damaged file
        return Operator(index, kind, inputs, outputs, raw.builtinOptions)

    def type(self, index: int) -> str:
        """Element type in lower case, such as ``int8``; ``type N`` for a number that the schema does not define."""
        code = self.graph.tensors[index].type
        return _TYPE_NAMES.get(code, f"type {code}")

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.graph.tensors[index].shape
        return () if shape is None else tuple(int(n) for n in shape)

    def scales(self, index: int) -> npt.NDArray[np.float32] | None:
        """Scale (1,) or scales (channels,); None if the tensor is not quantised."""
        q = self.graph.tensors[index].quantization
        return None if q is None or q.scale is None or len(q.scale) == 0 else np.asarray(q.scale, np.float32)

    def quant(self, index: int) -> Quant | None:
        """Scales and zero point; None if the tensor is not quantised."""
        q, scale = self.graph.tensors[index].quantization, self.scales(index)
        if scale is None:
            return None
        zero_points = np.zeros(1, np.int64) if q.zeroPoint is None else np.asarray(q.zeroPoint, np.int64)
        if len(scale) > 1:
            if zero_points.any():
                raise ExportError(self.tensor_place(index), "zero points per channel", expected="symmetric codes")
            return Quant.per_channel(scale, int(q.quantizedDimension))
        return Quant.per_tensor(float(scale[0]), int(zero_points[0]))

    def constant(self, index: int) -> npt.NDArray[np.generic] | None:
        """The stored values of a tensor; None for an activation."""
        data = self.model.buffers[self.graph.tensors[index].buffer].data
        if data is None or len(data) == 0:
            return None
        dtype, shape = _DTYPES.get(self.type(index)), self.shape(index)
        raw = np.asarray(data, np.uint8).tobytes()
        if dtype is None or len(raw) != int(np.prod(shape)) * dtype.itemsize:
            got = f"{self.type(index)} {shape} in {len(raw)} bytes"
            raise ExportError(self.tensor_place(index), "constant of an unsupported type or wrong size", got=got)
        return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape).astype(dtype)

    def tensor_place(self, index: int) -> str:
        return f"{self.where}, tensor {index} '{self.names[index]}'"


class Int8File(TfliteFile):
    """A file with one int8 input and one int8 output, and operators with one output each.

    Raises:
        ExportError: see the module's refusals.
    """

    def _parse(self, data: bytes) -> None:
        super()._parse(data)
        self.inputs, self.outputs = ([int(i) for i in ends] for ends in (self.graph.inputs, self.graph.outputs))
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise ValueError(f"{len(self.inputs)} inputs and {len(self.outputs)} outputs instead of one each")
        for op in self.operators:
            if len(op.outputs) != 1:
                raise ValueError(f"{len(op.outputs)} outputs of operator {op.index} ({op.kind}) instead of one")
        self.original_ends = (self.inputs[0], self.outputs[0])
        self._remove_conversions()

    def _remove_conversions(self) -> None:
        """Remove conversions from and to float32 or uint8 at the ends, so that the graph starts and ends with codes."""
        readers = [op for op in self.operators if self.inputs[0] in op.inputs]
        if len(readers) == 1 and readers[0].kind == "QUANTIZE" and self.type(self.inputs[0]) in ("float32", "uint8"):
            self.operators.remove(readers[0])
            self.inputs = [readers[0].output]
        last = self.operators[-1] if self.operators else None
        if last is None or last.output != self.outputs[0] or last.kind not in ("QUANTIZE", "DEQUANTIZE"):
            return
        if self.type(last.output) in ("float32", "uint8"):
            self.operators.remove(last)
            self.outputs = [last.inputs[0]]

    def int8_bytes(self, data: bytes) -> bytes:
        """The file without the removed conversions; ``data`` itself if there were none."""
        if self.original_ends == (self.inputs[0], self.outputs[0]):
            return data
        self.graph.inputs, self.graph.outputs = self.inputs, self.outputs
        self.graph.operators = [self.graph.operators[op.index] for op in self.operators]
        self.model.signatureDefs = None
        builder = flatbuffers.Builder(len(data))
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "tensor")


def _unique(names: list[str]) -> list[str]:
    """Unique names; a repeated name gets its tensor number as a suffix."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        while names[index] in seen:
            names[index] = f"{name}_{index}"
            name = names[index]
        seen.add(names[index])
    return names
