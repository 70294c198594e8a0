"""int8 TFLite files as other tools write them: nets of the MLPerf Tiny shapes, and one of odd parts.

Weights are random with the variance that keeps activations in range, so that codes use their range and some saturate.
The writer has nothing in common with tinyscene.runtime.tflite_write but the schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Rng = np.random.Generator
OPS, TYPES, ACTIVATIONS = schema.BuiltinOperator, schema.TensorType, schema.ActivationFunctionType
INPUT_SCALE = 8 / 255


@dataclass(frozen=True)
class Edge:
    """A tensor: its number, and what later layers must know."""

    index: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int


class Net:
    """A TFLite graph in the making. ``per_channel``: scales of convolution weights."""

    def __init__(self, rng: Rng, shape: tuple[int, ...], *, per_channel: bool = True) -> None:
        self.rng, self.per_channel = rng, per_channel
        self.buffers, self.tensors, self.operators = [schema.BufferT()], [], []
        self.codes: list[int] = []
        self.versions = dict(_VERSIONS)
        self.activations: list[int] = []
        self.other_inputs: list[Edge] = []
        self.input = self.edge("serving_default_input:0", (1, *shape), INPUT_SCALE, int(rng.integers(-20, 20)))

    def tensor(self, name: str, shape: Any, kind: int, scale: Any = None, zero_point: int = 0, axis: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
        if scale is not None:
            tensor.quantization = q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.float32(scale))
            q.zeroPoint, q.quantizedDimension = np.full(len(q.scale), zero_point, np.int64), axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, data: np.ndarray, scale: Any = None, axis: int = 0) -> int:
        kind = getattr(TYPES, data.dtype.name.upper())
        index = self.tensor(f"model/constant_{len(self.tensors)}", data.shape, kind, scale, axis=axis)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        self.buffers.append(buffer)
        self.tensors[index].buffer = len(self.buffers) - 1
        return index

    def edge(self, name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> Edge:
        return Edge(
            self.tensor(name, shape, TYPES.INT8, scale, zero_point), shape, float(np.float32(scale)), zero_point
        )

    def new_input(self, shape: tuple[int, ...]) -> Edge:
        """Another input, behind those before."""
        name, scale = f"serving_default_input_{len(self.other_inputs) + 1}:0", INPUT_SCALE * self.rng.uniform(0.5, 2)
        self.other_inputs.append(self.edge(name, (1, *shape), scale, int(self.rng.integers(-20, 20))))
        return self.other_inputs[-1]

    def operator(self, code: int, inputs: list[int], output: int, options: Any = None) -> None:
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = self.codes.index(code), inputs, [output]
        if options is not None:
            operator.builtinOptions = options
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self.operators.append(operator)

    def apply(self, code: int, inputs: list[int], out: Edge, options: Any = None) -> Edge:
        self.operator(code, inputs, out.index, options)
        self.activations.append(out.index)
        return out

    def out(self, shape: tuple[int, ...], activation: str = "NONE", like: Edge | None = None) -> Edge:
        """The tensor a layer writes: 0 to about 5 behind a ReLU, about -4 to 4 otherwise; or quantised as another."""
        name = f"model/layer_{len(self.tensors)}/BiasAdd;model/layer/Conv2D"
        if like is not None:
            return self.edge(name, shape, like.scale, like.zero_point)
        scale = self.rng.uniform(0.8, 1.4)
        if activation == "NONE":
            return self.edge(name, shape, scale * 8 / 255, int(self.rng.integers(-20, 20)))
        return self.edge(name, shape, scale * 6 / 255, -128)

    def weight(self, shape: tuple[int, ...], axis: int, fan_in: int, x: Edge, per_channel: bool) -> list[int]:
        channels = shape[axis]
        scale = np.float32(np.sqrt(6 / fan_in) / 127 * self.rng.uniform(0.7, 1.2, channels if per_channel else 1))
        weight = self.rng.integers(-127, 128, shape).astype(np.int8)
        bias = np.int32(self.rng.normal(0, 0.2, channels) / (x.scale * scale))
        return [self.constant(weight, scale, axis), self.constant(bias, np.float32(x.scale) * scale)]

    def window(self, options: Any, x: Edge, kernel: Any, stride: Any, padding: str, activation: str) -> tuple[int, int]:
        """Fill in the options and say height and width of the output."""
        options.padding = getattr(schema.Padding, padding)
        options.strideH, options.strideW = stride
        options.fusedActivationFunction = getattr(ACTIVATIONS, activation)
        if padding == "SAME":
            return -(-x.shape[1] // stride[0]), -(-x.shape[2] // stride[1])
        return (x.shape[1] - kernel[0]) // stride[0] + 1, (x.shape[2] - kernel[1]) // stride[1] + 1

    def conv(
        self,
        x: Edge,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        activation: str = "RELU",
        padding: str = "SAME",
    ) -> Edge:
        options = schema.Conv2DOptionsT()
        options.dilationHFactor = options.dilationWFactor = 1
        height, width = self.window(options, x, kernel, stride, padding, activation)
        shape = (channels, *kernel, x.shape[3])
        constants = self.weight(shape, 0, int(np.prod(shape[1:])), x, self.per_channel)
        out = self.out((x.shape[0], height, width, channels), activation)
        return self.apply(OPS.CONV_2D, [x.index, *constants], out, options)

    def depthwise(
        self, x: Edge, kernel: tuple[int, int], stride: tuple[int, int], activation: str = "RELU", multiplier: int = 1
    ) -> Edge:
        options = schema.DepthwiseConv2DOptionsT()
        options.dilationHFactor = options.dilationWFactor = 1
        options.depthMultiplier = multiplier
        height, width = self.window(options, x, kernel, stride, "SAME", activation)
        channels = x.shape[3] * multiplier
        constants = self.weight((1, *kernel, channels), 3, int(np.prod(kernel)), x, self.per_channel)
        out = self.out((1, height, width, channels), activation)
        return self.apply(OPS.DEPTHWISE_CONV_2D, [x.index, *constants], out, options)

    def dense(self, x: Edge, outputs: int, activation: str = "NONE", per_channel: bool = False) -> Edge:
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = getattr(ACTIVATIONS, activation)
        fan_in = int(np.prod(x.shape))
        constants = self.weight((outputs, fan_in), 0, fan_in, x, per_channel)
        out = self.out((1, outputs), activation)
        return self.apply(OPS.FULLY_CONNECTED, [x.index, *constants], out, options)

    def pool(
        self, x: Edge, kind: str, kernel: tuple[int, int], stride: tuple[int, int], padding: str = "VALID"
    ) -> Edge:
        options = schema.Pool2DOptionsT()
        options.filterHeight, options.filterWidth = kernel
        shape = (1, *self.window(options, x, kernel, stride, padding, "NONE"), x.shape[3])
        return self.apply(getattr(OPS, f"{kind}_POOL_2D"), [x.index], self.out(shape, like=x), options)

    def pair(self, kind: str, a: Edge, b: Edge, activation: str = "NONE") -> Edge:
        options = getattr(schema, f"{kind.title()}OptionsT")()
        options.fusedActivationFunction = getattr(ACTIVATIONS, activation)
        options.potScaleInt16 = False
        return self.apply(getattr(OPS, kind), [a.index, b.index], self.out(a.shape, activation), options)

    def view(self, kind: str, x: Edge, shape: tuple[int, ...], *constants: list[int], options: Any = None) -> Edge:
        inputs = [self.constant(np.array(values, np.int32)) for values in constants]
        return self.apply(getattr(OPS, kind), [x.index, *inputs], self.out(shape, like=x), options)

    def flat(self, x: Edge) -> Edge:
        size = int(np.prod(x.shape))
        return self.view("RESHAPE", x, (1, size), [-1, size], options=schema.ReshapeOptionsT())

    def softmax(self, x: Edge) -> Edge:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self.apply(
            OPS.SOFTMAX, [x.index], self.edge("StatefulPartitionedCall:0", x.shape, 1 / 256, -128), options
        )

    def pad(self, x: Edge, pads: list[list[int]]) -> Edge:
        shape = tuple(size + sum(amount) for size, amount in zip(x.shape, pads, strict=True))
        amounts = self.constant(np.array(pads, np.int32))
        out = self.out(shape, like=x)
        self.operator(OPS.PAD, [x.index, amounts], out.index, schema.PadOptionsT())  # no node of its own in the graph
        return out

    def concat(self, parts: list[Edge], axis: int) -> Edge:
        options = schema.ConcatenationOptionsT()
        options.axis, options.fusedActivationFunction = axis, ACTIVATIONS.NONE
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        out = self.out(tuple(shape), like=parts[0])
        return self.apply(OPS.CONCATENATION, [part.index for part in parts], out, options)

    def alone(self, kind: str, x: Edge, out: Edge) -> Edge:
        options = schema.QuantizeOptionsT() if kind == "QUANTIZE" else None
        return self.apply(getattr(OPS, kind), [x.index], out, options)

    def finish(self, *outputs: Edge, ends: str = "int8", expose_all: bool = False) -> bytes:
        """The file. ``ends``: float32 or uint8 for QUANTIZE and DEQUANTIZE, or two QUANTIZE, around it."""
        tensors, operators, codes = list(self.tensors), list(self.operators), list(self.codes)
        sources, results = [each.index for each in (self.input, *self.other_inputs)], [each.index for each in outputs]
        if ends != "int8":
            sources, results = self._wrapped(sources, results, ends)
        graph, model = schema.SubGraphT(), schema.ModelT()
        graph.name, graph.tensors, graph.operators = "main", self.tensors, self.operators
        graph.inputs, graph.outputs = sources, self.activations if expose_all else results
        model.version, model.description, model.buffers = 3, "made elsewhere", self.buffers
        model.subgraphs, model.operatorCodes = [graph], [_operator_code(code, self.versions) for code in self.codes]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        self.tensors, self.operators, self.codes = tensors, operators, codes
        return bytes(builder.Output())

    def become_uint8(self, zero_point: int = 128) -> None:
        """Every int8 tensor as one of uint8, weights with this zero point."""
        for tensor in self.tensors:
            if tensor.type != TYPES.INT8:
                continue
            tensor.type, q, stored = TYPES.UINT8, tensor.quantization, tensor.buffer != 0
            q.zeroPoint = np.full(1, zero_point) if stored else np.asarray(q.zeroPoint) + 128
            if stored:
                buffer = self.buffers[tensor.buffer]
                buffer.data = np.frombuffer(np.asarray(buffer.data).tobytes(), np.uint8) ^ 128
        self.versions |= dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "HARD_SWISH"), 1)

    def _wrapped(self, sources: list[int], results: list[int], ends: str) -> tuple[list[int], list[int]]:
        kind = {"float32": TYPES.FLOAT32, "uint8": TYPES.UINT8}[ends]
        edges = []
        for index in (*sources, *results):
            q, shape = self.tensors[index].quantization, self.tensors[index].shape
            scale = q.scale if ends == "uint8" else None
            edges.append(self.tensor(f"{ends}_{len(self.tensors)}", shape, kind, scale, int(q.zeroPoint[0]) + 128))
        before, after = edges[: len(sources)], edges[len(sources) :]
        for edge, source in zip(before, sources, strict=True):
            self.operator(OPS.QUANTIZE, [edge], source, schema.QuantizeOptionsT())
            self.operators.insert(0, self.operators.pop())
        for edge, result in zip(after, results, strict=True):
            if ends == "uint8":
                self.operator(OPS.QUANTIZE, [result], edge, schema.QuantizeOptionsT())
            else:
                self.operator(OPS.DEQUANTIZE, [result], edge, schema.DequantizeOptionsT())
        return before, after


_VERSIONS = {
    "DEPTH_TO_SPACE": 1,
    "SHAPE": 1,
    "FULLY_CONNECTED": 4,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "TRANSPOSE_CONV": 4,
    "RESHAPE": 1,
    "SQUEEZE": 1,
    "EXPAND_DIMS": 1,
}


def _operator_code(code: int, versions: dict[str, int]) -> Any:
    result = schema.OperatorCodeT()
    name = next(name for name, value in vars(OPS).items() if value == code)
    result.builtinCode, result.deprecatedBuiltinCode, result.version = code, min(code, 127), versions.get(name, 2)
    return result


Made = tuple[Net, Edge]


def ds_cnn(rng: Rng) -> Made:
    """Keywords: 49 frames of 10 coefficients."""
    net = Net(rng, (49, 10, 1))
    x = net.conv(net.input, 64, (10, 4), (2, 2))
    for _ in range(4):
        x = net.conv(net.depthwise(x, (3, 3), (1, 1)), 64)
    x = net.pool(x, "AVERAGE", (25, 5), (25, 5))
    return net, net.softmax(net.dense(net.flat(x), 12))


def resnet8(rng: Rng) -> Made:
    """Small pictures, three residual blocks."""
    net = Net(rng, (32, 32, 3))
    x = net.conv(net.input, 16, (3, 3))
    for channels, stride in ((16, (1, 1)), (32, (2, 2)), (64, (2, 2))):
        inner = net.conv(net.conv(x, channels, (3, 3), stride), channels, (3, 3), activation="NONE")
        side = x if stride == (1, 1) else net.conv(x, channels, stride=stride, activation="NONE")
        x = net.pair("ADD", inner, side, "RELU")
    x = net.pool(x, "AVERAGE", (8, 8), (8, 8))
    return net, net.softmax(net.dense(net.flat(x), 10))


def mobilenet(rng: Rng) -> Made:
    """Persons: MobileNetV1 of width 0.25 on 96x96, ReLU6 whose end some ranges reach."""
    net = Net(rng, (96, 96, 3))
    x = net.conv(net.input, 8, (3, 3), (2, 2), "RELU6")
    widths = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
    for at, width in enumerate(widths):
        stride = (2, 2) if at in (1, 3, 5, 11) else (1, 1)
        x = net.conv(net.depthwise(x, (3, 3), stride, "RELU6"), width, activation="RELU6")
    x = net.pool(x, "AVERAGE", (3, 3), (2, 2))
    return net, net.softmax(net.dense(net.flat(x), 2))


def autoencoder(rng: Rng) -> Made:
    """Machine noise: matrix products only, no picture."""
    net = Net(rng, (640,))
    x = net.input
    for outputs in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = net.dense(x, outputs, "RELU")
    return net, net.dense(x, 640)


def tiny_conv(rng: Rng) -> Made:
    """Keywords: a flat input, a depthwise convolution of 8 outputs for its one channel, one scale for each weight."""
    net = Net(rng, (49 * 40,), per_channel=False)
    x = net.view("RESHAPE", net.input, (1, 49, 40, 1), [-1, 49, 40, 1], options=schema.ReshapeOptionsT())
    x = net.depthwise(x, (10, 8), (2, 2), multiplier=8)
    return net, net.softmax(net.dense(x, 4))


def odd_parts(rng: Rng) -> Made:
    """Whatever else there is: pads before convolutions and a pool, several outputs for each of several channels, views,
    activations that stand alone, and matrix products with a scale for each output."""
    net = Net(rng, (17, 13, 3))
    x = net.pad(net.input, [[0, 0], [1, 1], [1, 1], [0, 0]])
    x = net.conv(x, 12, (3, 3), (2, 2), padding="VALID")
    pooled = net.pool(net.pad(x, [[0, 0], [1, 0], [0, 1], [0, 0]]), "MAX", (2, 2), (1, 1))
    deep = net.depthwise(x, (3, 3), (1, 1), "NONE", multiplier=2)
    deep = net.conv(deep, 12, (3, 1), activation="RELU6", padding="SAME")
    same = net.alone("QUANTIZE", deep, net.out(deep.shape, like=x))
    x = net.concat([x, pooled, same], 3)
    gate = net.alone("LOGISTIC", net.conv(x, 36, activation="NONE"), net.edge("gate", x.shape, 1 / 256, -128))
    x = net.pair("SUB", x, net.pair("MUL", x, gate), "RELU")
    plain = net.conv(x, 8, activation="NONE")
    x = net.alone("RELU", plain, net.out(plain.shape, "RELU"))
    x = net.alone("RELU6", x, net.out(x.shape, like=x))
    x = net.conv(x, 6, (x.shape[1], 1), activation="NONE", padding="VALID")
    x = net.view("TRANSPOSE", x, (1, x.shape[2], 1, 6), [0, 2, 1, 3], options=schema.TransposeOptionsT())
    whole = schema.StridedSliceOptionsT()
    whole.beginMask = whole.endMask = 15
    x = net.view("STRIDED_SLICE", x, x.shape, [0] * 4, [0] * 4, [1] * 4, options=whole)
    squeezed = schema.SqueezeOptionsT()
    squeezed.squeezeDims = [2]
    x = net.view("SQUEEZE", x, (1, x.shape[1], 6), options=squeezed)
    return net, net.dense(net.flat(x), 5, per_channel=True)


NETS = {made.__name__: made for made in (ds_cnn, resnet8, mobilenet, autoencoder, tiny_conv, odd_parts)}


def half_precision() -> bytes:
    """A file with one float convolution, its weights stored as float16 behind a DEQUANTIZE."""
    net = Net(np.random.default_rng(0), (8, 8, 2))
    stored, bias = net.constant(np.ones((6, 3, 3, 2), np.float16)), net.constant(np.ones(6, np.float32))
    weight = net.tensor("weight", (6, 3, 3, 2), TYPES.FLOAT32)
    net.operator(OPS.DEQUANTIZE, [stored], weight, schema.DequantizeOptionsT())
    options = schema.Conv2DOptionsT()
    height, width = net.window(options, net.input, (3, 3), (1, 1), "SAME", "NONE")
    output = net.edge("output", (1, height, width, 6), 1.0, 0)
    net.apply(OPS.CONV_2D, [net.input.index, weight, bias], output, options)
    return net.finish(output)
