"""Parse a TFLite file: tensors with unique names, operators by name.

A file may have float32 or uint8 inputs and outputs around an int8 network; :class:`Int8File` removes the QUANTIZE and
DEQUANTIZE at its ends, so that inputs and outputs are int8 codes, and computes shape arithmetic. uint8 codes, of
activations and of weights, become int8 codes that are 128 lower. Refuses what
:mod:`tinyscene.runtime.tflite_tables` refuses; :class:`Int8File` also refuses too many inputs or outputs, variables
that :mod:`.tflite_variables` has no form for, and activations too large for any target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import tflite_lstm
from tinyscene.runtime.graph import MOST_ENDS, Quant
from tinyscene.runtime.tflite_options import Options, named_graphs
from tinyscene.runtime.tflite_schema import TYPES, Subgraph, Tensor, TfliteTables
from tinyscene.runtime.tflite_tables import read_graphs, require_one_graph

from ..errors import ExportError
from .tflite_fold import fold
from .tflite_limits import LIMITS
from .tflite_limits import TYPES as TYPE_LIMITS
from .tflite_moved_reals import moved_reals
from .tflite_variables import ONCE, take_variables

_OP_NAMES: dict[int, str] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
_DTYPES = {name: np.dtype(name) for name in ("int8", "uint8", "int16", "int32", "int64", "float16", "float32")}
_REAL_ENDS = ("float32", "uint8")  # types of inputs and outputs that are converted to codes, or from them
SEVERAL_OUTPUTS = ("SPLIT", "SPLIT_V", "UNPACK")  # operators that become a node for each output
LARGEST_ACTIVATION = 2**24  # elements of one activation, also padded
LARGEST_ACTIVATIONS = 2**26  # elements of all activations


@dataclass(frozen=True)
class Operator:
    """One operator: its number in the file, its name, and tensor numbers (-1: an optional input that is missing)."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None  # None for operators whose options nothing here needs
    intermediates: tuple[int, ...] = ()  # tensors that state scales within an LSTM

    @property
    def output(self) -> int:
        """The first output; of an :class:`Int8File` only :data:`SEVERAL_OUTPUTS` have others."""
        return self.outputs[0]


class TfliteFile:
    """One graph of a file, float or int8.

    Args:
        model: the records of the file.
        where: name of the file in messages.
        number: of the graph; 0 is the main one.
    """

    def __init__(self, model: TfliteTables, where: str, number: int = 0) -> None:
        self.where, self.model, self.number = where, model, number
        self.graph: Subgraph = model.subgraphs[number]
        self.names = _unique([tensor.name or "tensor" for tensor in self.graph.tensors])
        self.inputs, self.outputs = self.graph.inputs.tolist(), self.graph.outputs.tolist()
        self.operators = [self._operator(index) for index in range(len(self.graph.operators))]
        self.computed: dict[int, npt.NDArray[np.generic]] = {}  # values of tensors that need no input, by number

    def _operator(self, index: int) -> Operator:
        raw = self.graph.operators[index]
        code = self.model.operator_codes[raw.opcode_index].code
        kind = _OP_NAMES.get(code, f"operator code {code}")
        inputs, outputs, within = (tuple(each.tolist()) for each in (raw.inputs, raw.outputs, raw.intermediates))
        return Operator(index, kind, inputs, outputs, raw.options, within)

    def other(self, number: int) -> TfliteFile:
        """Another graph of the file."""
        return TfliteFile(self.model, self.where, number)

    def tensor(self, index: int) -> Tensor:
        return self.graph.tensors[index]

    def type(self, index: int) -> str:
        """Element type in lower case, such as ``int8``; ``type N`` for a number that the schema does not define."""
        code = self.tensor(index).type
        return TYPES[code] if code < len(TYPES) else f"type {code}"

    def shape(self, index: int) -> tuple[int, ...]:
        computed = self.computed.get(index)
        return tuple(self.tensor(index).shape.tolist()) if computed is None else computed.shape

    def scales(self, index: int) -> npt.NDArray[np.float32] | None:
        """Scale (1,) or scales (channels,); None if the tensor is not quantised."""
        q = self.tensor(index).quantization
        return None if q is None or len(q.scale) == 0 else q.scale.astype(np.float32)

    def quant(self, index: int) -> Quant | None:
        """Scales and zero point; None if the tensor is not quantised."""
        q, scale = self.tensor(index).quantization, self.scales(index)
        if q is None or scale is None:
            return None
        if len(scale) > 1:
            if q.zero_point.any():
                raise ExportError(self.tensor_place(index), "zero points per channel", expected="symmetric codes")
            return Quant.per_channel(scale, q.quantized_dimension)
        return Quant.per_tensor(float(scale[0]), int(q.zero_point[0]) if len(q.zero_point) else 0)

    def is_stored(self, index: int) -> bool:
        """Whether the tensor is a constant."""
        return index in self.computed or len(self.model.buffers[self.tensor(index).buffer].data) > 0

    def stored_bytes(self, index: int) -> npt.NDArray[np.uint8]:
        """The bytes of a constant."""
        if index in self.computed:
            return np.frombuffer(self.computed[index].tobytes(), np.uint8)
        data: npt.NDArray[np.uint8] = self.model.buffers[self.tensor(index).buffer].data
        return data

    def constant(self, index: int) -> npt.NDArray[np.generic] | None:
        """The stored values of a tensor; None for an activation."""
        if not self.is_stored(index):
            return None
        dtype, shape = _DTYPES.get(self.type(index)), self.shape(index)
        if self.type(index) == "int4" and not self.tensor(index).sparsity:
            return _of_four_bits(self.model.buffers[self.tensor(index).buffer].data, math.prod(shape)).reshape(shape)
        if dtype is None or self.tensor(index).sparsity:
            got = f"{self.type(index)} {shape}{' with sparse storage' if self.tensor(index).sparsity else ''}"
            raise ExportError(self.tensor_place(index), "constant of an unsupported type", got=got)
        return self.stored_bytes(index).view(dtype.newbyteorder("<")).reshape(shape).astype(dtype)

    def tensor_place(self, index: int) -> str:
        return f"{self.where}, tensor {index} '{self.names[index]}'"


class Int8File(TfliteFile):
    """A file with int8 inputs and int8 outputs, and operators with one output each, except those that split.

    Variables are inputs and outputs behind those of the file (:attr:`variables`). Codes of uint8 are int8 here: type,
    zero point and values of a tensor are those 128 lower.

    Raises:
        ExportError: see the module's refusals.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self._moved_reals: dict[int, Quant] = {}
        super().__init__(read_graphs(data, where, ExportError), where)
        for ends, name in ((self.inputs, "inputs"), (self.outputs, "outputs")):
            if not 1 <= len(ends) <= MOST_ENDS:
                expected = f"1 to {MOST_ENDS}"
                raise ExportError(where, f"{len(ends)} {name} are not supported", expected=expected)
        for index in self.inputs:
            if self.inputs.count(index) > 1:
                raise ExportError(self.tensor_place(index), "is an input twice")
        runs_once = {number for op in self.operators if op.kind == ONCE for number in named_graphs(op.options)}
        self.variables = take_variables(self)
        fold(self)
        for op in self.operators:
            place, limit = f"{where}, operator {op.index} ({op.kind})", LIMITS.get(op.kind)
            if limit is not None and limit.of_codes and any(self.type(index) == "float32" for index in op.inputs):
                raise ExportError(place, TYPE_LIMITS["float32"].what, next_step=TYPE_LIMITS["float32"].next_step)
            if limit is not None:
                raise ExportError(place, f"limit: {limit.what}", next_step=limit.next_step)
            if len(op.outputs) != 1 and op.kind not in SEVERAL_OUTPUTS:
                raise ExportError(place, f"limit: {len(op.outputs)} outputs are not supported", expected="one")
        require_one_graph(self.model, where, ExportError, frozenset(runs_once))
        self._remove_conversions()
        self.inputs = [*self.inputs, *(variable.read for variable in self.variables)]
        self.outputs = [*self.outputs, *(variable.assigned for variable in self.variables)]
        self._moved_reals = moved_reals(self)
        self._require_sizes()

    def type(self, index: int) -> str:
        """As that of any file; float32 tensors that are moved codes are int8, and so are codes of uint8."""
        return "int8" if index in self._moved_reals or self.is_uint8(index) else super().type(index)

    def quant(self, index: int) -> Quant | None:
        """As that of any file; float32 tensors that are moved codes have the scale of the codes."""
        quant = self._moved_reals.get(index) or super().quant(index)
        return replace(quant, zero_point=quant.zero_point - 128) if quant and self.is_uint8(index) else quant

    def constant(self, index: int) -> npt.NDArray[np.generic] | None:
        """As that of any file; codes of uint8 are 128 lower."""
        values = super().constant(index)  # of the type above, int8
        return values if values is None or not self.is_uint8(index) else values.astype(np.int8) ^ np.int8(-128)

    def is_uint8(self, index: int) -> bool:
        """Whether the file's own codes are uint8."""
        return super().type(index) == "uint8" and self.scales(index) is not None

    def is_moved_real(self, index: int) -> bool:
        """Whether the tensor is float32 in the file, and an int8 code in the graph."""
        return index in self._moved_reals

    def _remove_conversions(self) -> None:
        """Remove conversions from and to float32 or uint8 at the ends, so that the graph starts and ends with codes."""
        for at, index in enumerate(self.inputs):
            readers = [op for op in self.operators if index in op.inputs]
            if len(readers) == 1 and readers[0].kind == "QUANTIZE" and self._converts(index, readers[0].output):
                self.operators.remove(readers[0])
                self.inputs[at] = readers[0].output
        for index in set(self.outputs):
            writer = next((op for op in self.operators if op.output == index), None)
            if writer is None or writer.kind not in ("QUANTIZE", "DEQUANTIZE") or min(writer.inputs, default=-1) < 0:
                continue
            alone = not any(index in op.inputs for op in self.operators)
            if alone and self._converts(index, writer.inputs[0]):
                self.operators.remove(writer)
                self.outputs = [writer.inputs[0] if each == index else each for each in self.outputs]

    def _converts(self, end: int, inner: int) -> bool:
        """Whether an operator between these tensors is a conversion from or to another type at an end."""
        types = super().type(end), super().type(inner)
        return types[0] in _REAL_ENDS and types[0] != types[1]

    def _require_sizes(self) -> None:
        """Refuse what would take more memory than any target has, and state that is kept between runs."""
        total = 0
        for index in self.used():
            size = math.prod(self.shape(index))
            variable = self.tensor(index).is_variable and not self._is_state_of_lstm(index)
            if variable or self.tensor(index).variant_tensors:
                what = "limit: a state that an operator keeps by itself, but for those of one LSTM"
                raise ExportError(self.tensor_place(index), what)
            if size == 0:
                raise ExportError(self.tensor_place(index), "tensor without elements", got=self.shape(index))
            total += 0 if self.is_stored(index) else size
            if not self.is_stored(index) and size > LARGEST_ACTIVATION:
                expected, got = f"{LARGEST_ACTIVATION:,} elements at most", f"{size:,}"
                raise ExportError(self.tensor_place(index), "activation too large", expected=expected, got=got)
        if total > LARGEST_ACTIVATIONS:
            expected, got = f"{LARGEST_ACTIVATIONS:,} elements at most", f"{total:,}"
            raise ExportError(self.where, "activations too large together", expected=expected, got=got)

    def _is_state_of_lstm(self, index: int) -> bool:
        """Whether the tensor is a state of one LSTM, which nothing else reads."""
        readers = [op for op in self.operators if index in op.inputs]
        state = len(readers) == 1 and readers[0].kind == tflite_lstm.KIND and index not in self.outputs
        return state and readers[0].inputs.index(index) in tflite_lstm.STATES and readers[0].inputs.count(index) == 1

    def is_read(self, index: int) -> bool:
        """Whether an operator reads the tensor, or it is an output."""
        return index in self.outputs or any(index in operator.inputs for operator in self.operators)

    def used(self) -> list[int]:
        """Numbers of the tensors that the operators between the ends read or write, in the order of the file."""
        numbers = {*self.inputs, *self.outputs}
        for operator in self.operators:
            numbers |= {index for index in (*operator.inputs, *operator.outputs) if index >= 0}
        return sorted(numbers)


def _of_four_bits(data: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.int8]:
    """Codes of 4 bits, the lower half of a byte first, as int8."""
    halves = np.stack([data & 15, data >> 4], axis=1).ravel()[:size].astype(np.int8)
    return (halves ^ 8) - 8


def _unique(names: list[str]) -> list[str]:
    """Unique names; a repeated name gets its tensor number as a suffix."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        while names[index] in seen:
            names[index] = f"{name}_{index}"
            name = names[index]
        seen.add(names[index])
    return names
