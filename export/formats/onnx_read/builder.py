"""Build the integer graph from the nodes of an ONNX file: tensors, nodes, constants and layouts.

ONNX convolutions have channels first, the graph has them last: an activation keeps the order in which it was computed
(:class:`.values.Codes`), and elements move only where an operator needs another one. Refuses activations that are not
quantised, and codes of other types than int8 and uint8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise, quantise
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.ops import Shape

from ...errors import ExportError
from ..free_name import free_name
from .values import NHWC, Codes, Constant, Order, Pending, QuantConstant, Value

Array = npt.NDArray[Any]


class OnnxGraphBuilder:
    """Values by ONNX name, and the tensors and nodes of the graph; called by the readers of this package."""

    def __init__(self, where: str, opset: int, names: frozenset[str]) -> None:
        self.where, self.opset = where, opset
        self.values: dict[str, Value] = {}
        self.dtypes: dict[str, str] = {}  # of the codes that QuantizeLinear writes
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self._names = names  # of the file, which added tensors may not have
        self._emitted: dict[tuple[int, Quant], Codes] = {}  # of pending values that several QuantizeLinear read
        self.current = onnx.NodeProto()
        self.index = -1

    # Refusals

    def refusal(self, what: str, *, expected: object = None, got: object = None) -> ExportError:
        """The refusal of the current node."""
        name = f" '{self.current.name or self.title}'"
        return ExportError(
            f"{self.where}, operator {self.index} ({self.current.op_type}{name})", what, expected=expected, got=got
        )

    def refuse(self, what: str, *, expected: object = None, got: object = None) -> NoReturn:
        raise self.refusal(what, expected=expected, got=got)

    # Inputs of the current node

    @property
    def title(self) -> str:
        return self.current.output[0] if self.current.output else ""

    def attributes(self) -> dict[str, Any]:
        return {each.name: helper.get_attribute_value(each) for each in self.current.attribute}

    def has(self, position: int) -> bool:
        """Whether the current node has this input."""
        return position < len(self.current.input) and self.current.input[position] != ""

    def value(self, position: int) -> Value:
        name = self.current.input[position]
        if name not in self.values:
            self.refuse(f"reads '{name}', which nothing before it writes")
        return self.values[name]

    def constant(self, position: int) -> Array:
        """A constant input as an array; a quantised one in real numbers."""
        value = self.value(position)
        if isinstance(value, QuantConstant):
            return value.real
        if not isinstance(value, Constant):
            self.refuse(f"input {position}", expected="a constant", got=f"'{self.current.input[position]}', computed")
        return value.values

    def axis(self, axis: int, rank: int) -> int:
        """An axis that is counted from either end."""
        if not -rank <= axis < rank:
            self.refuse("axis out of range", expected=f"{-rank} to {rank - 1}", got=axis)
        return axis % rank

    def integers(self, position: int, attribute: str = "") -> tuple[int, ...] | None:
        """Integers that are an input or, in older files, an attribute; None where there are none."""
        if self.has(position):
            return tuple(int(v) for v in self.constant(position).ravel().tolist())
        stated = self.attributes().get(attribute)
        return None if stated is None else tuple(int(v) for v in stated)

    def codes(self, position: int) -> Codes:
        """An activation input; a quantised constant becomes a tensor of the graph."""
        value = self.value(position)
        if isinstance(value, Codes):
            return value
        name = self.current.input[position]
        if isinstance(value, QuantConstant):
            return self.constant_codes(name, value)
        what = "is not quantised: expected QuantizeLinear and DequantizeLinear between this operator and the one before"
        self.refuse(f"its input '{name}' {what}" if isinstance(value, Pending) else f"input '{name}' has no scale")

    # Tensors and layouts

    def quant(self, codes: Codes) -> Quant:
        return self.tensors[codes.name].quant

    def shape(self, codes: Codes) -> Shape:
        """Shape in the order of the file."""
        shape = self.tensors[codes.name].shape
        return tuple(shape[axis] for axis in codes.order)

    def node(self, name: str, op: ops.Op, inputs: tuple[str, ...], quant: Quant, output: str = "") -> str:
        """Append a node; the shape of its output follows from the op. Returns the output's name."""
        row = ops.OPS[type(op)]
        try:
            shape = row.shape(op, *(self.tensors[each].shape for each in inputs))
        except ValueError as problem:
            raise self.refusal(f"inputs do not fit the op ({problem})") from None
        title = free_name(output or name, self.tensors.keys())
        self.tensors[title] = Tensor(title, shape, "int8", quant)
        self.nodes.append(Node(free_name(name, {node.name for node in self.nodes}), op, inputs, title))
        return title

    def added(self, suffix: str) -> str:
        """A name for something that the file does not have."""
        return free_name(f"{self.title}_{suffix}", self._names | self.tensors.keys())

    def ordered(self, codes: Codes, order: Order) -> str:
        """The graph's tensor with its axes in this order; a node is appended where elements move."""
        if codes.order == order:
            return codes.name
        tensor = self.tensors[codes.name]
        if len(order) != len(tensor.shape):
            self.refuse("limit: the batch was moved", expected="size 1 in the first axis", got=self.shape(codes))
        permutation = tuple(codes.order[order.index(axis)] for axis in range(len(order)))
        shape = tuple(tensor.shape[axis] for axis in permutation)
        moved = [axis for axis in permutation if tensor.shape[axis] > 1]
        name = self.added("ordered")
        if tensor.data is not None:
            return self.stored(name, tensor.dtype, tensor.quant, tensor.data.transpose(permutation))
        op: ops.Op = ops.Reshape(shape) if moved == sorted(moved) else ops.Transpose(permutation)
        return self.node(name, op, (codes.name,), tensor.quant)

    def reshaped(self, codes: Codes, shape: Shape) -> Codes:
        """The elements in the order of the file, in another shape; one without a batch gets it in the graph."""
        tensor, missing = self.tensors[codes.name], 0 if shape[:1] == (1,) else 1
        moved = [axis for axis in codes.order if tensor.shape[axis] > 1]
        plain = tuple(range(len(codes.order)))
        source = codes.name if moved == sorted(moved) else self.ordered(codes, plain)
        target, order = (1,) * missing + shape, tuple(range(missing, missing + len(shape)))
        if self.tensors[source].shape == target:
            return Codes(source, order)
        return Codes(self.node(self.added("shape"), ops.Reshape(target), (source,), tensor.quant), order)

    def nhwc(self, codes: Codes) -> str:
        """An image with channels last."""
        if len(codes.order) != 4:
            self.refuse("number of axes", expected=4, got=self.shape(codes))
        return self.ordered(codes, NHWC)

    def constant_codes(self, name: str, value: QuantConstant) -> Codes:
        """A constant operand with one scale as a tensor of the graph, its axes as in the file."""
        if value.axis is not None or not -255 <= value.codes.min() <= value.codes.max() <= 255:
            self.refuse(
                f"constant '{name}'", expected="8-bit codes with one scale", got="a scale per channel, or wider"
            )
        low, high = int(value.codes.min()), int(value.codes.max())
        zero_point = max(-128 - low, min(0, 127 - high))
        data = (value.codes + zero_point).astype(np.int8)
        data = data.reshape((1,) * (data.ndim == 0) + data.shape)
        title = free_name(name, self.tensors.keys())
        self.tensors[title] = Tensor(
            title, data.shape, "int8", Quant.per_tensor(float(value.scale.ravel()[0]), zero_point), data
        )
        return Codes(title, tuple(range(data.ndim)))

    def stored(self, name: str, dtype: Literal["int8", "int32"], quant: Quant, data: Array) -> str:
        """Add a constant; the same constant of two nodes is stored once."""
        tensor = Tensor(name, data.shape, dtype, quant, np.ascontiguousarray(data.astype(dtype)))
        existing = self.tensors.get(name)
        if existing is not None:
            same = existing.quant == quant and existing.dtype == dtype and existing.shape == tensor.shape
            if same and existing.data is not None and np.array_equal(existing.data, data):
                return name
            return self.stored(free_name(name, self._names | self.tensors.keys()), dtype, quant, data)
        self.tensors[name] = tensor
        return name

    # Results of the current node

    def result(self, value: Value, position: int = 0) -> None:
        self.values[self.current.output[position]] = value

    def pending(
        self, emit: Callable[[Pending, bool, Quant], str], shape: Shape, order: Order, *, fuses_relu: bool = False
    ) -> Pending:
        """The result of the current node, before it is quantised."""
        return Pending((self.current, self.index), emit, shape, order, fuses_relu)

    def move(self, move: Callable[[Codes], Codes]) -> None:
        """The result of an operator that moves elements: of codes at once, of a pending value when it has codes."""
        value = self.value(0)
        if isinstance(value, Pending):
            self.result(value.followed_by(move))
        else:
            self.result(move(self.codes(0)))

    def quantised(self, value: Value, quant: Quant) -> Codes:
        """A value with this scale and zero point: what QuantizeLinear makes of it."""
        if isinstance(value, Pending):
            key = (id(value), quant)
            if key not in self._emitted:
                self._emitted[key] = self._emit(value, quant)
            return self._emitted[key]
        if isinstance(value, Codes):
            if self.quant(value) == quant:
                return value
            data = self.tensors[value.name].data
            if data is not None:
                codes = quantise(dequantise(data, self.quant(value)), quant)
                return Codes(self.stored(self.added("constant"), "int8", quant, codes), value.order)
            return self.function(value, lambda real: real, quant)
        self.refuse("quantises a constant that an activation is expected for")

    def with_quant(self, value: Value, quant: Quant) -> Codes:
        """A tensor of codes that a node reads with this scale and zero point; an input of codes gets them here.

        Where the quantiser's are others, the same codes mean other numbers: a table that keeps each code.
        """
        if isinstance(value, Codes) and self.quant(value) != quant:
            return self.table(value, np.arange(-128, 128), quant)
        return self.quantised(value, quant)

    def _emit(self, pending: Pending, quant: Quant) -> Codes:
        quantiser = self.current, self.index
        self.current, self.index = pending.node
        low = quant.zero_point > -128
        relu = pending.relu and pending.fuses_relu
        codes = Codes(pending.emit(pending, relu, quant), pending.order)
        if pending.ceiling and quant.zero_point + 6.0 / quant.scale[0] < 126.5:
            codes = Codes(self.node(self.added("relu6"), ops.Lookup("relu6"), (codes.name,), quant), codes.order)
        elif pending.relu and not relu and low:
            codes = Codes(self.node(self.added("relu"), ops.Lookup("relu"), (codes.name,), quant), codes.order)
        for move in pending.then:
            codes = move(codes)
        self.current, self.index = quantiser
        return codes

    def function(self, codes: Codes, function: Callable[[Array], Array], quant: Quant) -> Codes:
        """A function of single elements, computed for each of the 256 codes."""
        with np.errstate(all="ignore"):
            return self.tabulated(codes, function(self.reals(codes)), quant)

    def reals(self, codes: Codes) -> Array:
        """The real number of each code, from code -128 on."""
        return dequantise(np.arange(-128, 128), self.quant(codes))

    def tabulated(self, codes: Codes, values: Array, quant: Quant) -> Codes:
        """The real value of each code, from code -128 on."""
        with np.errstate(all="ignore"):
            real = np.nan_to_num(values.astype(np.float32))
        return self.table(codes, quantise(real, quant), quant)

    def table(self, codes: Codes, entries: Array, quant: Quant) -> Codes:
        """The entry of each code, int8 (256,), from code -128 on."""
        table = self.stored(self.added("table"), "int8", quant, entries)
        return Codes(self.node(self.added("values"), ops.Table(), (codes.name, table), quant), codes.order)

    def graph(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Graph:
        """The checked graph."""
        used = {*inputs, *outputs, *(each for node in self.nodes for each in (*node.inputs, node.output))}
        tensors = {key: tensor for key, tensor in self.tensors.items() if key in used}
        try:
            return Graph(name, tensors, tuple(self.nodes), inputs, outputs).check()
        except RuntimeFailure as problem:
            place = f"{self.where}, {problem.where.rpartition(', ')[2]}"
            raise ExportError(place, f"limit: {problem.what}", expected=problem.expected, got=problem.got) from problem
