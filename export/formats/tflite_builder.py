"""Build the integer graph from the tensors and operators of a TFLite file.

Refuses activations that are not int8 or uint8 with one scale, weights that are not symmetric, constants of another
type, and graphs that :meth:`tinyscene.runtime.graph.Graph.check` refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from tinyscene.runtime import ops
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, State, Tensor
from tinyscene.runtime.ops import Shape

from ..errors import ExportError
from .free_name import free_name
from .tflite_file import Int8File, Operator
from .tflite_limits import TYPES, Limit

Scalar = TypeVar("Scalar", np.int8, np.int32)
Constant = npt.NDArray[np.int8] | npt.NDArray[np.int32]
# Of a weight channel: an int32 accumulator times such scales stays below one code of the smallest output scale.
NO_SCALE_BELOW = 2.0**-90


class GraphBuilder:
    """Collects tensors and nodes; called by the readers of :mod:`tinyscene.export.formats.tflite_operators`."""

    def __init__(self, file: Int8File) -> None:
        self.file = file
        self._file_names = frozenset(file.names)
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.rewritten = False  # whether engines get the graph: other scales than 0, copies, or codes of uint8
        self.outputs: list[str] = []
        self.operators: list[Operator] = []  # of each node the operator that it was read from
        self.current = file.operators[0] if file.operators else None
        self.indices: dict[int, tuple[int, int]] = {}  # int32 tensors: the int8 tensor and what was added to its codes
        self.merged: set[int] = set()  # numbers of operators that an earlier one's reader has read
        self.window_pads: dict[int, tuple[int, ops.Pads, str]] = {}  # output of a PAD: input, pads, name of the pads
        self.unread: dict[int, Callable[[], None]] = {}  # output of a PAD: what appends its node for other readers

    def graph(self, name: str | None) -> Graph:
        """The checked graph of all nodes; ``name`` replaces the name in the file."""
        title = name or self.file.graph.name or "tflite"
        inputs = tuple(self.file.names[index] for index in self.file.inputs)
        graph = Graph(title, self.tensors, tuple(self.nodes), inputs, tuple(self.outputs), states=self._states())
        try:
            return graph.check()
        except RuntimeFailure as problem:
            raise self._refused_by_graph(problem) from problem

    def _states(self) -> tuple[State, ...]:
        """The states of the graph: its last outputs are those of the file's variables."""
        variables = self.file.variables
        assigned = self.outputs[len(self.outputs) - len(variables) :]
        return tuple(
            State(self.file.names[variable.read], output, _codes(variable.initial))
            for variable, output in zip(variables, assigned, strict=True)
        )

    def _refused_by_graph(self, problem: RuntimeFailure) -> ExportError:
        """The graph's refusal, with the operator that the node or its output was read from."""
        parts = zip(self.nodes, self.operators, strict=True)
        named = (op for node, op in parts if problem.where.endswith((f", {node.name}", f", {node.output}")))
        operator, what = next(named, None), f"not supported: {problem.what}"
        if operator is None:
            return ExportError(f"{self.file.where}, {problem.where}", what, expected=problem.expected, got=problem.got)
        return self.refusal(operator, what, expected=problem.expected, got=problem.got)

    def refusal(
        self, operator: Operator, what: str, *, expected: object = None, got: object = None, next_step: str = ""
    ) -> ExportError:
        where = f"{self.file.where}, operator {operator.index} ({operator.kind})"
        return ExportError(where, what, expected=expected, got=got, next_step=next_step)

    def require_shape(self, operator: Operator, expected: Shape, position: int = 0) -> None:
        """Refuse an output of another shape than the operator has: LiteRT replaces it, and TFLite Micro does not."""
        got = self.file.shape(operator.outputs[position])
        if got != expected:
            raise self.refusal(operator, "its output's shape is not the operator's", expected=expected, got=got)

    def activation(self, index: int, rank: int | None = None) -> Tensor:
        """The int8 tensor with this number, an activation or a constant; ``rank``: its number of dimensions."""
        name = self.file.names[index]
        if index in self.unread:
            self.unread.pop(index)()
        if name not in self.tensors:
            quant = self.file.quant(index)
            if self.file.type(index) != "int8" or quant is None or quant.axis is not None:
                kind = self.file.type(index)
                scales = f"{kind} with {'no' if quant is None else len(quant.scale)} scale"
                limit = TYPES.get(kind, Limit("activation type not supported", ""))
                self._refuse_tensor(index, limit.what, "int8 with one scale", scales, limit.next_step)
            if min(quant.scale) == 0.0:
                self._refuse_tensor(index, "scale not supported", "above 0", 0)
            self._require_zero_point(index, quant)
            self.rewritten |= self.file.is_uint8(index)
            data = self.file.constant(index)
            shape = (1,) * self.leading_axes(index) + self.file.shape(index)
            shape = shape if data is None else shape or (1,)  # also of a scalar
            codes = None if data is None else data.astype(np.int8, copy=False).reshape(shape)
            self.add(Tensor(name, shape, "int8", quant, codes))
        if rank is not None and len(self.file.shape(index)) != rank:
            self._refuse_tensor(index, "number of dimensions not supported", rank, self.file.shape(index))
        return self.tensors[name]

    def _require_zero_point(self, index: int, quant: Quant) -> None:
        if not -128 <= quant.zero_point <= 127:
            own = 128 if self.file.is_uint8(index) else 0
            expected = f"one of the codes, {own - 128} to {own + 127}"
            self._refuse_tensor(index, "zero point", expected, quant.zero_point + own)

    def leading_axes(self, index: int) -> int:
        """Axes that the graph's tensor has before those of the file: one where the file's first is not the batch.

        The batch is that of the file's input, 1; a reshape may put the rows of this input into the first axis.
        """
        if self.file.is_stored(index) or self.file.shape(index)[:1] == (1,):
            return 0
        if index in self.file.inputs and not any(index == variable.read for variable in self.file.variables):
            what, step = (
                "limit: a first axis of more than one, a batch or steps",
                "convert with a batch of one",
            )
            self._refuse_tensor(index, what, "shape (1, ...)", self.file.shape(index), step)
        return 1

    def _refuse_tensor(self, index: int, what: str, expected: object, got: object, next_step: str = "") -> NoReturn:
        """Refuse a tensor of the current operator, whose kind is not always the reason, but names the place."""
        operator = self.current
        kind = "" if operator is None else f", operator {operator.index} ({operator.kind})"
        where = f"{self.file.where}{kind}, tensor {index} '{self.file.names[index]}'"
        raise ExportError(where, what, expected=expected, got=got, next_step=next_step)

    def add(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

    def node(self, op: ops.Op, inputs: tuple[str, ...], output: Tensor, name: str | None = None) -> None:
        """Append a node. TFLite operators have no names: by default the node is named after its output."""
        assert self.current is not None
        self.operators.append(self.current)
        title = free_name(name or output.name.removesuffix("_out"), {node.name for node in self.nodes})
        self.nodes.append(Node(title, op, inputs, output.name))

    def inner(self, like: Tensor, suffix: str, shape: Shape | None = None) -> Tensor:
        """A new activation with the quantisation of ``like``."""
        tensor = Tensor(self.free_tensor(f"{like.name}_{suffix}"), shape or like.shape, "int8", like.quant)
        self.add(tensor)
        return tensor

    def free_tensor(self, name: str) -> str:
        return free_name(name, self._file_names | self.tensors.keys())

    def centred_weight(self, operator: Operator, rank: int) -> npt.NDArray[np.int16]:
        """Codes of the weight of an operator minus its zero point, which only a weight of uint8 has."""
        codes, quant = self.constant(operator, 1, np.int8, rank), self.file.quant(operator.inputs[1])
        if quant is None or not self.file.is_uint8(operator.inputs[1]):
            return codes.astype(np.int16)
        self._require_zero_point(operator.inputs[1], quant)
        return codes.astype(np.int16) - np.int16(quant.zero_point)

    def weight_and_bias(
        self, operator: Operator, x: Tensor, weight: npt.NDArray[np.int8], channel_axis: int | None
    ) -> tuple[str, str]:
        """Add the constants of a layer and return their names.

        Args:
            weight: in the layout of the graph.
            channel_axis: axis of the output channels, each with its own scale; None for one scale, channels first.
        """
        file, index = self.file, operator.inputs[1]
        channels = weight.shape[channel_axis or 0]
        scales = 1 if channel_axis is None else channels
        quant, own_axis = file.quant(index), 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
        centred = quant is not None and (quant.zero_point == 0 or file.is_uint8(index))
        if quant is None or not centred or quant.axis not in (None, own_axis):
            got = "no scale" if quant is None else f"zero point {quant.zero_point}, axis {quant.axis}"
            raise self.refusal(operator, "weight is not symmetric per tensor or output channel", got=got)
        scale = np.array(np.broadcast_to(np.asarray(quant.scale, np.float32), scales))
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        bias = self.constant(operator, 2, np.int32) if has_bias else np.zeros(channels, np.int32)
        dead = max(1.0, x.quant.scale[0]) * scale < NO_SCALE_BELOW
        if dead.any():
            weight, bias, scale = self._without_scale(weight, bias, scale, dead, channel_axis)
        stored = file.quant(operator.inputs[2]) if has_bias else None
        bias_scale = np.float32(x.quant.scale[0]) * scale
        fits = stored is not None and len(stored.scale) in (1, scales)
        if stored is not None and fits and np.allclose(stored.scale, bias_scale, rtol=1e-6, atol=0.0):
            bias_scale = np.broadcast_to(np.asarray(stored.scale, np.float32), scales)  # to the last bit
        bias_axis = None if channel_axis is None else 0
        bias_name = file.names[operator.inputs[2]] if has_bias else self.free_tensor(f"{file.names[index]}_bias")
        return (
            self._stored(file.names[index], "int8", Quant(tuple(scale.tolist()), 0, channel_axis), weight),
            self._stored(bias_name, "int32", Quant(tuple(bias_scale.tolist()), 0, bias_axis), bias),
        )

    def output(self, index: int) -> None:
        """Add an output of the graph: a copy of one that is an input, or an output already."""
        self.current = next((operator for operator in self.file.operators if index in operator.outputs), None)
        if self.file.is_stored(index):
            self._refuse_tensor(
                index, "limit: a constant output", "an activation", f"{self.file.type(index)}, stored or known"
            )
        x = self.activation(index)  # a PAD that is the last operator becomes a node
        if index in self.file.inputs or x.name in self.outputs:
            self.rewritten, self.current = True, Operator(0, "no operator", (index,), (index,), None)
            source, x = x, self.inner(x, "copy")
            self.node(ops.Reshape(x.shape), (source.name,), x)
        self.outputs.append(x.name)

    def _without_scale(
        self,
        weight: npt.NDArray[np.int8],
        bias: npt.NDArray[np.int32],
        scale: npt.NDArray[np.float32],
        dead: npt.NDArray[np.bool_],
        axis: int | None,
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Zeros and another scale in place of the ``dead`` channels, whose output is 0 for every input."""
        self.rewritten = True
        weight, bias = weight.copy(), bias.copy()
        np.moveaxis(weight, axis or 0, 0)[dead if axis is not None else slice(None)] = 0
        bias[dead if axis is not None else slice(None)] = 0
        return weight, bias, np.where(dead, np.float32(1) if dead.all() else scale.max(), scale)

    def _stored(self, name: str, dtype: Literal["int8", "int32"], quant: Quant, data: Constant) -> str:
        """Add a constant; one that two layers read with different quantisation is stored twice."""
        tensor = Tensor(name, data.shape, dtype, quant, data)
        existing = self.tensors.get(name)
        if existing is not None and not (
            existing.quant == quant and existing.data is not None and np.array_equal(existing.data, data)
        ):
            return self._stored(self.free_tensor(name), dtype, quant, data)
        return self.add(tensor)

    def integers(self, operator: Operator, position: int, rank: int | None = None) -> npt.NDArray[np.int64]:
        """A constant input of int32 or int64, as int64."""
        values = self.file.constant(operator.inputs[position])
        if values is not None and values.dtype == np.int64 and rank in (None, values.ndim):
            return values.astype(np.int64, copy=False)
        return self.constant(operator, position, np.int32, rank).astype(np.int64)

    def constant(
        self, operator: Operator, position: int, dtype: type[Scalar], rank: int | None = None
    ) -> npt.NDArray[Scalar]:
        """A constant input of this type and, if given, of this number of dimensions."""
        index = operator.inputs[position]
        values = self.file.constant(index)
        if values is None or values.dtype != dtype or rank not in (None, values.ndim):
            got = f"{self.file.type(index)} {self.file.shape(index)}{'' if values is not None else ', not stored'}"
            dimensions = "" if rank is None else f" with {rank} dimensions"
            expected = f"a constant of {np.dtype(dtype).name}{dimensions}"
            raise self.refusal(operator, f"input {position}", expected=expected, got=got)
        return values.astype(dtype, copy=False)


def _codes(values: npt.NDArray[np.generic]) -> tuple[int, ...]:
    """Codes of int8 from int8 or uint8: one where all are equal."""
    codes = values.ravel().astype(np.int16) - (128 if values.dtype == np.uint8 else 0)
    return tuple(codes[:1].tolist() if (codes == codes[0]).all() else codes.tolist())
