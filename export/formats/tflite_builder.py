"""Build the integer graph from the tensors and operators of a TFLite file.

Refuses activations that are not int8 with one scale, weights that are not symmetric, constants of another type, and
graphs that :meth:`tinyscene.runtime.graph.Graph.check` refuses.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from tinyscene.runtime import ops
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.ops import Shape

from ..errors import ExportError
from .tflite_file import Int8File, Operator

Scalar = TypeVar("Scalar", np.int8, np.int32)
Constant = npt.NDArray[np.int8] | npt.NDArray[np.int32]
RECONVERT = "convert the float model with full integer quantisation (int8), or ask the author of the file to"


class GraphBuilder:
    """Collects tensors and nodes; called by the readers of :mod:`tinyscene.export.formats.tflite_operators`."""

    def __init__(self, file: Int8File) -> None:
        self.file = file
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.padded: dict[int, tuple[int, ops.Pads, str]] = {}  # output of a PAD: its input, pads, and name of the pads

    def graph(self, name: str | None) -> Graph:
        """The checked graph of all nodes; ``name`` replaces the name in the file."""
        own = self.file.graph.name
        title = name or (own.decode(errors="replace") if isinstance(own, bytes) else own) or "tflite"
        output = self.activation(self.file.outputs[0])
        graph = Graph(title, self.tensors, tuple(self.nodes), self.file.names[self.file.inputs[0]], output.name)
        try:
            return graph.check()
        except RuntimeFailure as problem:
            what = "beyond the limits that hold on every target"
            raise ExportError(self.file.where, what, got=str(problem), next_step=RECONVERT) from problem

    def refusal(self, operator: Operator, what: str, *, expected: object = None, got: object = None) -> ExportError:
        where = f"{self.file.where}, operator {operator.index} ({operator.kind})"
        return ExportError(where, what, expected=expected, got=got)

    def activation(self, index: int) -> Tensor:
        """The int8 tensor with this number, an activation or a constant."""
        if index in self.padded:
            where = self.file.tensor_place(index)
            raise ExportError(where, "PAD is only supported before a convolution", expected="a convolution as reader")
        name = self.file.names[index]
        if name not in self.tensors:
            quant = self.file.quant(index)
            if self.file.type(index) != "int8" or quant is None or quant.axis is not None:
                where, got = self.file.tensor_place(index), f"{self.file.type(index)}, {quant}"
                raise ExportError(
                    where, "not an int8 activation", expected="int8, one scale", got=got, next_step=RECONVERT
                )
            data = self.file.constant(index)
            codes = None if data is None else data.astype(np.int8, copy=False)
            self.add(Tensor(name, self.file.shape(index), "int8", quant, codes))
        return self.tensors[name]

    def add(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

    def node(self, op: ops.Op, inputs: tuple[str, ...], output: Tensor, name: str | None = None) -> None:
        """Append a node. TFLite operators have no names: by default the node is named after its output."""
        title = _free(name or output.name.removesuffix("_out"), {node.name for node in self.nodes})
        self.nodes.append(Node(title, op, inputs, output.name))

    def inner(self, like: Tensor, suffix: str, shape: Shape | None = None) -> Tensor:
        """A new activation with the quantisation of ``like``."""
        name = _free(f"{like.name}_{suffix}", {*self.tensors, *self.file.names})
        tensor = Tensor(name, shape or like.shape, "int8", like.quant)
        self.add(tensor)
        return tensor

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
        quant = file.quant(index)
        if quant is None or quant.zero_point != 0 or len(quant.scale) not in (1, channels):
            raise self.refusal(operator, "weight is not symmetric per tensor or output channel", got=quant)
        scale = np.broadcast_to(np.asarray(quant.scale, np.float32), scales)
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        bias = self.constant(operator, 2, np.int32) if has_bias else np.zeros(channels, np.int32)
        stored = file.quant(operator.inputs[2]) if has_bias else None
        bias_scale = np.float32(x.quant.scale[0]) * scale
        fits = stored is not None and len(stored.scale) in (1, scales)
        if stored is not None and fits and np.allclose(stored.scale, bias_scale, rtol=1e-6, atol=0.0):
            bias_scale = np.broadcast_to(np.asarray(stored.scale, np.float32), scales)  # to the last bit
        bias_axis = None if channel_axis is None else 0
        bias_name = file.names[operator.inputs[2]] if has_bias else f"{file.names[index]}_bias"
        return (
            self._stored(file.names[index], "int8", Quant(tuple(scale.tolist()), 0, channel_axis), weight),
            self._stored(bias_name, "int32", Quant(tuple(bias_scale.tolist()), 0, bias_axis), bias),
        )

    def _stored(self, name: str, dtype: Literal["int8", "int32"], quant: Quant, data: Constant) -> str:
        """Add a constant; one that two layers read with different quantisation is stored twice."""
        tensor = Tensor(name, data.shape, dtype, quant, data)
        existing = self.tensors.get(name)
        if existing is not None and not (
            existing.quant == quant and existing.data is not None and np.array_equal(existing.data, data)
        ):
            return self._stored(f"{name}_{len(self.nodes)}", dtype, quant, data)
        return self.add(tensor)

    def constant(self, operator: Operator, position: int, dtype: type[Scalar]) -> npt.NDArray[Scalar]:
        """A constant input of this type."""
        values = self.file.constant(operator.inputs[position])
        if values is None or values.dtype != dtype:
            got = self.file.type(operator.inputs[position])
            expected = f"a constant of {np.dtype(dtype).name}"
            raise self.refusal(operator, f"input {position}", expected=expected, got=got)
        return values.astype(dtype, copy=False)


def _free(name: str, taken: set[str]) -> str:
    """The name, with underscores behind it if it is taken: names in a file are arbitrary."""
    while name in taken:
        name += "_"
    return name
