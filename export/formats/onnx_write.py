"""Write the integer graph as an ONNX file in QDQ form, with the graph's own quantisation parameters.

Input and output are float32: ``log_mel`` (1, 1, mel, time) and scores (1, classes). Activations between them are uint8
codes (the int8 code + 128), which ONNX Runtime fuses into integer kernels, or int8 codes. RSQRT, for which ONNX has no
operator, and every other function of one code are tables of 256 codes. The layout is NCHW, that of ONNX convolutions.
Refuses graphs that are not valid, and tensors that have the name of one that this writer adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tinyscene.runtime import ops
from tinyscene.runtime.arith import rsqrt_table
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Node, Quant
from tinyscene.runtime.lookup_tables import function_table
from tinyscene.runtime.onnx_tensors import CODES_SUFFIX, OnnxCodes, codes_name, nchw
from tinyscene.runtime.ops import Shape

from ..errors import ExportError

OPSET = 17
IR_VERSION = 8

Attribute = int | str | Sequence[int]


def to_onnx(graph: Graph, *, expose_all: bool = False, codes: OnnxCodes = "uint8") -> bytes:
    """ONNX bytes of a checked graph, its activations of type ``codes``.

    Args:
        expose_all: also output the codes of every activation, under the graph's tensor names (the codes of the graph's
            input and output are called ``<name>_codes``).
    """
    return _Writer(graph.check(), codes).finish(expose_all)


def onnx_node(
    kind: str, inputs: Sequence[str], output: str, *, name: str, attributes: Mapping[str, Attribute]
) -> onnx.NodeProto:
    """A node with one output."""
    made = helper.make_node(kind, list(inputs), [output], name=name)
    made.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
    return made


class _Writer:
    """Nodes and initializers of one graph, appended in execution order."""

    def __init__(self, graph: Graph, codes: OnnxCodes) -> None:
        self.graph = graph
        self.dtype = np.dtype(codes)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def finish(self, expose_all: bool) -> bytes:
        graph = self.graph
        source, result = graph.tensors[graph.input], graph.tensors[graph.output]
        self.quantize(graph.input, self.codes(graph.input), source.quant)
        for node in graph.nodes:
            EMITTERS[type(node.op)](self, node)
        self.emit("DequantizeLinear", [self.codes(graph.output), *self.parameters(graph.output)], graph.output)
        outputs = [_value(graph.output, TensorProto.FLOAT, nchw(result.shape))]
        if expose_all:
            outputs += [
                _value(self.codes(t.name), helper.np_dtype_to_tensor_dtype(self.dtype), nchw(t.shape))
                for t in graph.activations()
                if t.name != graph.input
            ]
        names = Counter([graph.input, *self.initializers, *(name for node in self.nodes for name in node.output)])
        twice = next((name for name, count in names.items() if count > 1), None)
        if twice is not None:
            raise self.collision(twice)
        body = helper.make_graph(
            self.nodes,
            graph.name,
            [_value(graph.input, TensorProto.FLOAT, nchw(source.shape))],
            outputs,
            list(self.initializers.values()),
        )
        model = helper.make_model(
            body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="tinyscene"
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def codes(self, name: str) -> str:
        """Name of the tensor of codes: that of the graph's tensor, with a suffix at the graph's input and output.

        A constant in place of an activation becomes an initializer.
        """
        data = self.graph.tensors[name].data
        if data is not None:
            values = np.moveaxis(data, 3, 1) if data.ndim == 4 else data
            self.constant(name, np.ascontiguousarray(values.astype(np.int16) + self.offset).astype(self.dtype))
        return codes_name(self.graph, name)

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

    def result(self, node: Node, real: str) -> None:
        """ReLU, unless saturation has the same effect, then the output quantiser."""
        quant = self.graph.out(node).quant
        if ops.has_relu(node.op) and quant.zero_point > -128:
            real = self.emit("Relu", [real], f"{node.name}_relu")
        self.quantize(real, self.codes(node.output), quant)

    def weight(self, node: Node, data: npt.NDArray[np.generic]) -> tuple[str, str]:
        """Dequantised weight (``data`` has output channels first) and bias, per output channel."""
        _, weight, bias = self.graph.ins(node)
        assert bias.data is not None
        names = []
        for tensor, values in ((weight, data), (bias, bias.data)):
            channels, name = len(bias.data), tensor.name
            if name in self.initializers:  # a weight of two layers: one DQ per use here too
                name = f"{node.name}_{name}"
            scales = np.broadcast_to(np.asarray(tensor.quant.scale, np.float32), channels)
            scale = self.constant(f"{name}_scale", np.ascontiguousarray(scales))
            zeros = self.constant(f"{name}_zero_point", np.zeros(channels, values.dtype))
            codes = self.constant(name, values)
            names.append(self.emit("DequantizeLinear", [codes, scale, zeros], f"{name}_real", axis=0))
        return names[0], names[1]


def _value(name: str, kind: int, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _conv(w: _Writer, node: Node) -> None:
    op, weight = node.op, w.graph.ins(node)[1].data
    assert isinstance(op, ops.Conv2D | ops.DepthwiseConv2D)
    assert weight is not None
    depthwise = isinstance(op, ops.DepthwiseConv2D)
    kernel = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
    real = w.emit(
        "Conv",
        [w.real(node, 0), *w.weight(node, np.ascontiguousarray(kernel))],
        f"{node.name}_real",
        kernel_shape=kernel.shape[2:],
        strides=op.stride,
        pads=op.pads,
        group=weight.shape[3] if depthwise else 1,
    )
    w.result(node, real)


def _elementwise(kind: str) -> Callable[[_Writer, Node], None]:
    def emit(w: _Writer, node: Node) -> None:
        w.result(node, w.emit(kind, [w.real(node, 0), w.real(node, 1)], f"{node.name}_real"))

    return emit


def _mean(w: _Writer, node: Node) -> None:
    """GlobalAveragePool, the mean that ONNX Runtime fuses; for a mean over channels they become a spatial axis."""
    op, x = node.op, w.graph.ins(node)[0]
    assert isinstance(op, ops.Mean)
    codes = w.codes(x.name)
    if op.over == "channels":
        _, height, width, channels = x.shape
        rows = w.constant(f"{node.name}_rows", np.array([1, channels, height * width, 1], np.int64))
        flat = w.moved(x.name, "Reshape", [codes, rows], f"{node.name}_flat")
        codes = w.moved(x.name, "Transpose", [flat], f"{node.name}_turned", perm=[0, 2, 1, 3])
    pooled = w.emit("GlobalAveragePool", [w.real(node, 0, codes)], f"{node.name}_real")
    out = w.graph.out(node)
    if op.over == "space" and op.keep_dims:  # Hexagon refuses a Reshape to the same shape
        w.quantize(pooled, w.codes(out.name), out.quant)
        return
    mean = w.emit("QuantizeLinear", [pooled, *w.parameters(out.name)], f"{node.name}_mean")
    target = w.constant(f"{node.name}_shape", np.array(nchw(out.shape), np.int64))
    w.moved(out.name, "Reshape", [mean, target], w.codes(out.name))


def _fully_connected(w: _Writer, node: Node) -> None:
    weight = w.graph.ins(node)[1].data
    assert weight is not None
    w.result(node, w.emit("Gemm", [w.real(node, 0), *w.weight(node, weight)], f"{node.name}_real", transB=1))


def _pool2d(w: _Writer, node: Node) -> None:
    """A maximum is computed on codes, an average on dequantised values."""
    op = node.op
    assert isinstance(op, ops.Pool2D)
    window = {"kernel_shape": op.kernel, "strides": op.stride, "pads": op.pads}
    if op.kind == "max":
        w.moved(node.output, "MaxPool", [w.codes(node.inputs[0])], w.codes(node.output), **window)
    else:
        w.result(node, w.emit("AveragePool", [w.real(node, 0)], f"{node.name}_real", **window))


def _rsqrt(w: _Writer, node: Node) -> None:
    _table(w, node, rsqrt_table(w.graph.ins(node)[0].quant, w.graph.out(node).quant))


def _lookup(w: _Writer, node: Node) -> None:
    assert isinstance(node.op, ops.Lookup)
    x, out = w.graph.ins(node)[0].quant, w.graph.out(node).quant
    _table(w, node, function_table(node.op.function, x, out, "single"))


def _table(w: _Writer, node: Node, table: I8) -> None:
    """Gather with codes as indices; negative codes count from the end. Flattened, because on Hexagon a tensor is either
    codes or indices, not both."""
    source, out = node.inputs[0], w.graph.out(node)
    flat = w.constant(f"{node.name}_length", np.array([-1], np.int64))
    codes = w.moved(source, "Reshape", [w.codes(source), flat], f"{node.name}_flat")
    index = w.emit("Cast", [codes], f"{node.name}_index", to=TensorProto.INT32)
    in_order = np.roll(table.astype(np.int16) + w.offset, 128 + w.offset)
    values = w.constant(f"{node.name}_table", in_order.astype(w.dtype))
    gathered = w.moved(out.name, "Gather", [values, index], f"{node.name}_found", axis=0)
    shape = w.constant(f"{node.name}_shape", np.array(nchw(out.shape), np.int64))
    w.moved(out.name, "Reshape", [gathered, shape], w.codes(out.name))


def _softmax(w: _Writer, node: Node) -> None:
    rank = len(w.graph.out(node).shape)
    w.result(node, w.emit("Softmax", [w.real(node, 0)], f"{node.name}_real", axis=1 if rank == 4 else rank - 1))


def _reshape(w: _Writer, node: Node) -> None:
    """Elements are reshaped in NHWC order, with a Transpose before and after for four axes."""
    op, codes = node.op, w.codes(node.inputs[0])
    assert isinstance(op, ops.Reshape)
    name = node.output
    if len(w.graph.ins(node)[0].shape) == 4:
        codes = w.moved(name, "Transpose", [codes], f"{node.name}_turned", perm=[0, 2, 3, 1])
    shape = w.constant(f"{node.name}_shape", np.array(op.shape, np.int64))
    if len(op.shape) != 4:
        w.moved(name, "Reshape", [codes, shape], w.codes(name))
        return
    w.moved(name, "Reshape", [codes, shape], f"{node.name}_nhwc")
    w.moved(name, "Transpose", [f"{node.name}_nhwc"], w.codes(name), perm=[0, 3, 1, 2])


def _concat(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, ops.Concat)
    axis = {1: 2, 2: 3, 3: 1}[op.axis] if len(w.graph.out(node).shape) == 4 else op.axis
    w.result(node, w.emit("Concat", [w.real(node, i) for i in range(len(node.inputs))], f"{node.name}_real", axis=axis))


EMITTERS: dict[type[ops.Op], Callable[[_Writer, Node], None]] = {
    ops.Conv2D: _conv,
    ops.DepthwiseConv2D: _conv,
    ops.FullyConnected: _fully_connected,
    ops.Add: _elementwise("Add"),
    ops.Sub: _elementwise("Sub"),
    ops.Mul: _elementwise("Mul"),
    ops.Mean: _mean,
    ops.Pool2D: _pool2d,
    ops.Rsqrt: _rsqrt,
    ops.Lookup: _lookup,
    ops.Softmax: _softmax,
    ops.Reshape: _reshape,
    ops.Concat: _concat,
}
