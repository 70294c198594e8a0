"""Nodes and initialisers of an ONNX file under construction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node, Quant
from tinyscene.runtime.onnx_tensors import CODES_SUFFIX, OnnxCodes, codes_name, nchw
from tinyscene.runtime.ops import Shape

from ...errors import ExportError

OPSET = 17

IR_VERSION = 8

Attribute = int | str | Sequence[int]


def onnx_node(
    kind: str, inputs: Sequence[str], output: str, *, name: str, attributes: Mapping[str, Attribute]
) -> onnx.NodeProto:
    """A node with one output."""
    made = helper.make_node(kind, list(inputs), [output], name=name)
    made.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
    return made


class OnnxWriter:
    """Nodes and initializers of one graph, appended in execution order."""

    def __init__(self, graph: Graph, codes: OnnxCodes) -> None:
        self.graph = graph
        self.dtype = np.dtype(codes)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def finish(self, emitters: Mapping[type[ops.Op], Emitter], expose_all: bool) -> bytes:
        graph = self.graph
        for name in graph.inputs:
            self.quantize(name, self.codes(name), graph.tensors[name].quant)
        for node in graph.nodes:
            emitters[type(node.op)](self, node)
        for name in graph.outputs:
            self.emit("DequantizeLinear", [self.codes(name), *self.parameters(name)], name)
        outputs = self._floats(graph.outputs)
        if expose_all:
            kind = helper.np_dtype_to_tensor_dtype(self.dtype)
            outputs += [_value(self.codes(n.output), kind, nchw(graph.out(n).shape)) for n in graph.nodes]
        names = Counter([*graph.inputs, *self.initializers, *(name for node in self.nodes for name in node.output)])
        twice = next((name for name, count in names.items() if count > 1), None)
        if twice is not None:
            raise self.collision(twice)
        body = helper.make_graph(
            self.nodes,
            graph.name,
            self._floats(graph.inputs),
            outputs,
            list(self.initializers.values()),
        )
        model = helper.make_model(
            body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="tinyscene"
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def _floats(self, names: tuple[str, ...]) -> list[onnx.ValueInfoProto]:
        """Inputs or outputs of the file, which are real numbers."""
        return [_value(name, TensorProto.FLOAT, nchw(self.graph.tensors[name].shape)) for name in names]

    def codes(self, name: str) -> str:
        """Name of the tensor of codes: that of the graph's tensor, with a suffix at the graph's inputs and outputs.

        A constant in place of an activation becomes an initializer.
        """
        data = self.graph.tensors[name].data
        if data is not None:
            self.stored(name, data)
        return codes_name(self.graph, name)

    def stored(self, name: str, data: npt.NDArray[Any]) -> str:
        """An initializer with a constant's codes in the layout and the type of the file."""
        values = np.moveaxis(data, 3, 1) if data.ndim == 4 else data
        return self.constant(name, np.ascontiguousarray(values.astype(np.int16) + self.offset).astype(self.dtype))

    def emit(self, kind: str, inputs: Sequence[str], output: str, **attributes: Attribute) -> str:
        self.nodes.append(onnx_node(kind, inputs, output, name=f"{kind}:{output}", attributes=attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        # A scalar must stay 0-d: with shape (1,) it is per-axis quantisation, which is not fused.
        made = numpy_helper.from_array(value, name)
        if self.initializers.setdefault(name, made) != made:
            raise self.collision(name)
        return name

    def collision(self, name: str) -> ExportError:
        """The names of the graph's tensors are arbitrary; those that this writer adds are formed from them."""
        what = "two tensors of the ONNX file would have one name"
        return ExportError(f"graph '{self.graph.name}'", what, got=name, next_step="rename the tensor of this name")

    def parameters(self, name: str) -> tuple[str, str]:
        """Scale and zero point of an activation."""
        quant = self.graph.tensors[name].quant
        return (
            self.constant(f"{name}_scale", np.array(quant.scale[0], np.float32)),
            self.constant(f"{name}_zero_point", np.array(quant.zero_point + self.offset, self.dtype)),
        )

    @property
    def offset(self) -> int:
        """Difference between a code in the file and the code in the graph."""
        return 128 if self.dtype == np.uint8 else 0

    def quantize(self, real: str, codes: str, quant: Quant) -> None:
        name = codes.removesuffix(CODES_SUFFIX)
        self.emit("QuantizeLinear", [real, *self.parameters(name)], codes)

    def moved(self, name: str, kind: str, inputs: Sequence[str], codes: str, **attributes: Attribute) -> str:
        """Move codes of tensor ``name`` between DQ and Q, as Hexagon requires; ONNX Runtime removes the pair."""
        first = self.emit("DequantizeLinear", [inputs[0], *self.parameters(name)], f"{codes}_before")
        real = self.emit(kind, [first, *inputs[1:]], f"{codes}_moved", **attributes)
        return self.emit("QuantizeLinear", [real, *self.parameters(name)], codes)

    def real(self, node: Node, index: int, codes: str | None = None) -> str:
        """Dequantised activation input; one DQ per use, so that each operator can be fused alone."""
        name = node.inputs[index]
        output = f"{node.name}_in{index}"
        return self.emit("DequantizeLinear", [codes or self.codes(name), *self.parameters(name)], output)

    def result(self, node: Node, real: str, codes: str | None = None) -> None:
        """ReLU, unless saturation has the same effect, then the output quantiser, which writes ``codes``."""
        quant = self.graph.out(node).quant
        if ops.has_relu(node.op) and quant.zero_point > -128:
            real = self.emit("Relu", [real], f"{node.name}_relu")
        self.emit("QuantizeLinear", [real, *self.parameters(node.output)], codes or self.codes(node.output))

    def weight(self, node: Node, data: npt.NDArray[np.generic], axis: int = 0) -> tuple[str, str]:
        """Dequantised weight (``data`` has output channels along ``axis``) and bias, per output channel."""
        _, weight, bias = self.graph.ins(node)
        assert bias.data is not None
        names = []
        for tensor, values, channel_axis in ((weight, data, axis), (bias, bias.data, 0)):
            channels, name = len(bias.data), tensor.name
            if name in self.initializers:  # ONNX Runtime 1.31 ends with an error for a weight of two layers
                name = f"{node.name}_{name}"
            scales = np.broadcast_to(np.asarray(tensor.quant.scale, np.float32), channels)
            scale = self.constant(f"{name}_scale", np.ascontiguousarray(scales))
            zeros = self.constant(f"{name}_zero_point", np.zeros(channels, values.dtype))
            codes = self.constant(name, values)
            names.append(self.emit("DequantizeLinear", [codes, scale, zeros], f"{name}_real", axis=channel_axis))
        return names[0], names[1]


def _value(name: str, kind: int, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


Emitter = Callable[[OnnxWriter, Node], None]
