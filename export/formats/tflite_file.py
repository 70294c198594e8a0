"""A TFLite file as Python sees it: tensors with names of their own, operators by name.

A file may take and give float32 or uint8 around an int8 network; :class:`Int8File` cuts the QUANTIZE and DEQUANTIZE at
its ends off, for codes go in and come out there. Refuses files that do not parse or that hold several graphs, and as
networks of codes those with more than one input or output.
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

_OP_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_TYPE_NAMES = {code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
_DTYPES = {name: np.dtype(name) for name in ("int8", "uint8", "int16", "int32", "int64", "float16", "float32")}
# What flatbuffers, the generated classes and sums with their numbers raise over bytes that are no such file.
DAMAGE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, struct.error)


@dataclass(frozen=True)
class Operator:
    """One operator: its place in the file, its name, and tensor numbers (-1: an input that is left out)."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any

    @property
    def output(self) -> int:
        """The first output, which is the only one of every operator that an :class:`Int8File` has."""
        return self.outputs[0]


class TfliteFile:
    """The one graph of a file, float or int8.

    Args:
        where: what messages call the file.

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
            raise ValueError("no TFL3 mark")
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
        """The name of a tensor's type in lower case; ``type N`` for a number that the schema does not have."""
        code = self.graph.tensors[index].type
        return _TYPE_NAMES.get(code, f"type {code}")

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.graph.tensors[index].shape
        return () if shape is None else tuple(int(n) for n in shape)

    def scales(self, index: int) -> npt.NDArray[np.float32] | None:
        """One scale, or one per channel; None where the tensor has none."""
        q = self.graph.tensors[index].quantization
        return None if q is None or q.scale is None or len(q.scale) == 0 else np.asarray(q.scale, np.float32)

    def quant(self, index: int) -> Quant | None:
        """Scales and zero point; None where the tensor has none."""
        q, scale = self.graph.tensors[index].quantization, self.scales(index)
        if scale is None:
            return None
        zero_points = np.zeros(1, np.int64) if q.zeroPoint is None else np.asarray(q.zeroPoint, np.int64)
        if len(scale) > 1:
            if zero_points.any():
                raise ExportError(self.tensor_place(index), "zero points per channel", expected="symmetric codes")
            return Quant.per_channel(scale, int(q.quantizedDimension))
        return Quant.per_tensor(float(scale[0]), int(zero_points[0]))

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """The stored values of a tensor, None for an activation."""
        data = self.model.buffers[self.graph.tensors[index].buffer].data
        if data is None or len(data) == 0:
            return None
        dtype, shape = _DTYPES.get(self.type(index)), self.shape(index)
        raw = np.asarray(data, np.uint8).tobytes()
        if dtype is None or len(raw) != int(np.prod(shape)) * dtype.itemsize:
            got = f"{self.type(index)} {shape} in {len(raw)} bytes"
            raise ExportError(self.tensor_place(index), "constant of another type or size", got=got)
        return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape).astype(dtype)

    def tensor_place(self, index: int) -> str:
        return f"{self.where}, tensor {index} '{self.names[index]}'"


class Int8File(TfliteFile):
    """A file whose graph goes from one int8 input to one int8 output, through operators of one output each.

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
        self.shown = (self.inputs[0], self.outputs[0])  # before the ends are cut
        self._cut_ends()

    def _cut_ends(self) -> None:
        """Let the graph begin and end with int8 codes."""
        readers = [op for op in self.operators if self.inputs[0] in op.inputs]
        if len(readers) == 1 and readers[0].kind == "QUANTIZE" and self.type(self.inputs[0]) in ("float32", "uint8"):
            self.operators.remove(readers[0])
            self.inputs = [readers[0].output]
        (*_, last) = self.operators or [None]
        ends = last is not None and last.output == self.outputs[0] and last.kind in ("QUANTIZE", "DEQUANTIZE")
        if last is not None and ends and self.type(last.output) in ("float32", "uint8"):
            self.operators.remove(last)
            self.outputs = [last.inputs[0]]

    def int8_bytes(self, data: bytes) -> bytes:
        """The same file without what was cut off; ``data`` itself where nothing was."""
        if self.shown == (self.inputs[0], self.outputs[0]):
            return data
        self.graph.inputs, self.graph.outputs = self.inputs, self.outputs
        self.graph.operators = [self.graph.operators[op.index] for op in self.operators]
        self.model.signatureDefs = None
        builder = flatbuffers.Builder(len(data))
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "tensor")


def _unique(names: list[str]) -> list[str]:
    """Names that occur once; a later double gets its tensor number."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        while names[index] in seen:
            names[index] = f"{name}_{index}"
            name = names[index]
        seen.add(names[index])
    return names
