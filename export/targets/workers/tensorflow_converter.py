"""Build a graph again from TensorFlow's float ops and fake quantisation, and convert it with TensorFlow's converter.

For a Python with TensorFlow. Reads the graph; writes converted.tflite. TensorFlow gets real ranges and real weights,
never a scale or a code: it computes both itself. Refuses what TensorFlow refuses, with TensorFlow's own message.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import tensorflow as tf

from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import F32
from tinyscene.runtime.graph import Graph, Node, Tensor

from .job import Job, read_job, refuse
from .records import ConverterRecord

LOWEST_CODE = -127  # of a weight, in TensorFlow's fake quantisation
Windowed = ops.Conv2D | ops.DepthwiseConv2D | ops.Pool2D


def fake_quantised(real: tf.Tensor, tensor: Tensor) -> tf.Tensor:
    """An activation after TensorFlow's 8-bit fake quantisation over the range that the graph's codes span."""
    scale, zero_point = tensor.quant.scale[0], tensor.quant.zero_point
    low, high = (-128 - zero_point) * scale, (127 - zero_point) * scale
    return tf.quantization.fake_quant_with_min_max_args(real, low, high)


def fake_quantised_weight(tensor: Tensor, layout: tuple[int, ...]) -> tf.Tensor:
    """A weight transposed to TensorFlow's ``layout``, symmetric over 255 codes, per tensor or per last axis."""
    assert tensor.data is not None
    if tensor.data.min() < LOWEST_CODE:
        refuse(f"a weight has the code {tensor.data.min()}, and TensorFlow's own begin at {LOWEST_CODE}")
    scale, axis = np.asarray(tensor.quant.scale, np.float32), tensor.quant.axis
    along = [-1 if i == axis else 1 for i in range(tensor.data.ndim)]
    real = tf.constant((tensor.data.astype(np.float32) * scale.reshape(along)).transpose(layout))
    if axis is None:
        low, high = -127 * scale[0], 127 * scale[0]
        return tf.quantization.fake_quant_with_min_max_args(real, low, high, num_bits=8, narrow_range=True)
    lows, highs = tf.constant(-127 * scale), tf.constant(127 * scale)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(real, lows, highs, num_bits=8, narrow_range=True)


def constant_operand(tensor: Tensor) -> tf.Tensor:
    """A constant in place of an activation."""
    assert tensor.data is not None
    return fake_quantised(tf.constant(dequantise(tensor.data, tensor.quant)), tensor)


def real_bias(graph: Graph, node: Node) -> F32:
    """The bias as float32 (channels,)."""
    tensor = graph.ins(node)[2]
    assert tensor.data is not None
    bias: F32 = (tensor.data * np.asarray(tensor.quant.scale, np.float64)).astype(np.float32)
    return bias


def padded(op: Windowed, size: tuple[int, ...], kernel: tuple[int, ...], x: tf.Tensor) -> tuple[tf.Tensor, str]:
    """The input and the padding argument: SAME where the pads equal TensorFlow's, else VALID after an explicit pad.

    ``size`` and ``kernel`` are (height, width).
    """
    if op.pads == ops.same_pads(size, kernel, op.stride):
        return x, "SAME"
    top, left, bottom, right = op.pads
    if not any(op.pads):
        return x, "VALID"
    return tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]]), "VALID"


def convolution(graph: Graph, node: Node, op: ops.Conv2D | ops.DepthwiseConv2D, x: tf.Tensor) -> tf.Tensor:
    source, weight, _ = graph.ins(node)
    x, padding = padded(op, source.shape[1:3], ops.spanned(weight.shape[1:3], op.dilation), x)
    window = {"padding": padding, "dilations": op.dilation}
    if isinstance(op, ops.Conv2D):
        kernel = fake_quantised_weight(weight, (1, 2, 3, 0))
        return tf.nn.conv2d(x, kernel, strides=op.stride, **window) + real_bias(graph, node)
    if max(op.stride) > 1 < max(op.dilation):
        refuse("TensorFlow's depthwise convolution has no stride beside a dilation")
    kernel = tf.reshape(fake_quantised_weight(weight, (0, 1, 2, 3)), (*weight.shape[1:3], source.shape[3], -1))
    return tf.nn.depthwise_conv2d(x, kernel, strides=(1, *op.stride, 1), **window) + real_bias(graph, node)


def transposed(graph: Graph, node: Node, op: ops.TransposeConv2D, x: tf.Tensor) -> tf.Tensor:
    source, weight, _ = graph.ins(node)
    whole = ops.transposed_size(op, source.shape, weight.shape[1:3])
    if weight.quant.axis is not None:
        refuse("TensorFlow's fake quantisation has no scales for the outputs of a transposed convolution")
    kernel = fake_quantised_weight(weight, (1, 2, 0, 3))
    shape = (1, *whole, weight.shape[0])
    windows = tf.nn.conv2d_transpose(x, kernel, shape, op.stride, "VALID") + real_bias(graph, node)
    return tf.slice(windows, (0, *op.crop, 0), (1, *op.size, weight.shape[0]))


def pool(graph: Graph, node: Node, op: ops.Pool2D, x: tf.Tensor) -> tf.Tensor:
    x, padding = padded(op, graph.ins(node)[0].shape[1:3], op.kernel, x)
    return tf.nn.pool(x, op.kernel, "MAX" if op.kind == "max" else "AVG", op.stride, padding)


def lookup(op: ops.Lookup, x: tf.Tensor) -> tf.Tensor:
    functions = {
        "relu": tf.nn.relu,
        "relu6": tf.nn.relu6,
        "relu_0_to_1": lambda x: tf.clip_by_value(x, 0.0, 1.0),
        "relu_n1_to_1": lambda x: tf.clip_by_value(x, -1.0, 1.0),
        "leaky_relu": lambda x: tf.nn.leaky_relu(x, op.alpha),
        "hard_swish": lambda x: x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0),
        "logistic": tf.sigmoid,
        "tanh": tf.tanh,
        "elu": tf.nn.elu,
        "gelu": tf.nn.gelu,
        "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
        "exp": tf.exp,
        "log": tf.math.log,
        "sqrt": tf.sqrt,
        "abs": tf.abs,
        "neg": tf.negative,
        "requantise": tf.identity,
    }
    return functions[op.function](x)


def sliced(op: ops.Slice, x: tf.Tensor) -> tf.Tensor:
    ends = [begin + size * step for begin, size, step in zip(op.begin, op.size, op.step, strict=True)]
    before_first = sum(1 << axis for axis, end in enumerate(ends) if end < 0)
    return tf.strided_slice(x, op.begin, ends, op.step, end_mask=before_first)


def resized(op: ops.Resize, x: tf.Tensor) -> tf.Tensor:
    functions = {"nearest": tf.compat.v1.image.resize_nearest_neighbor, "bilinear": tf.compat.v1.image.resize_bilinear}
    corners, centers = op.grid == "align_corners", op.grid == "half_pixel"
    return functions[op.kind](x, op.size, align_corners=corners, half_pixel_centers=centers)


def output_of(graph: Graph, node: Node, x: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
    """A node's real output, before its ReLU and its quantisation."""
    match node.op:
        case ops.Conv2D() | ops.DepthwiseConv2D() as op:
            return convolution(graph, node, op, x)
        case ops.TransposeConv2D() as op:
            return transposed(graph, node, op, x)
        case ops.FullyConnected():
            return tf.matmul(x, fake_quantised_weight(graph.ins(node)[1], (1, 0))) + real_bias(graph, node)
        case ops.BatchMatMul() as op:
            return tf.matmul(x, others[0], transpose_a=op.adj_x, transpose_b=op.adj_y)
        case ops.Reduce() as op:
            return getattr(tf, f"reduce_{op.kind}")(x, axis=op.axes, keepdims=op.keep_dims)
        case ops.Add():
            return x + others[0]
        case ops.Sub():
            return x - others[0]
        case ops.Mul():
            return x * others[0]
        case ops.SquaredDifference():
            return tf.math.squared_difference(x, others[0])
        case ops.Extremum() as op:
            return (tf.maximum if op.kind == "max" else tf.minimum)(x, others[0])
        case ops.L2Norm():
            return tf.math.l2_normalize(x, axis=-1)
        case ops.Rsqrt():
            return tf.math.rsqrt(x)
        case ops.Reshape() as op:
            return tf.reshape(x, op.shape)
        case ops.Transpose() as op:
            return tf.transpose(x, op.order)
        case ops.Pad() as op:
            quant = graph.out(node).quant
            real = (op.code - quant.zero_point) * quant.scale[0]
            return tf.pad(x, list(zip(op.before, op.after, strict=True)), constant_values=real)
        case ops.Resize() as op:
            return resized(op, x)
        case ops.Slice() as op:
            return sliced(op, x)
        case ops.LogSoftmax():
            return tf.nn.log_softmax(x)
        case ops.Softmax() as op:
            return tf.nn.softmax(x if op.beta == 1.0 else op.beta * x)
        case ops.Pool2D() as op:
            return pool(graph, node, op, x)
        case ops.PRelu():
            return tf.nn.relu(x) + others[0] * tf.minimum(x, 0.0)
        case ops.Table():
            refuse("a table of codes is no function of TensorFlow's, which its converter could quantise")
        case ops.Lstm():
            refuse("TensorFlow's converter finds an LSTM in layers of Keras only, and sets its state's scale")
        case ops.Lookup() as op:
            return lookup(op, x)
        case ops.Concat() as op:
            return tf.concat((x, *others), op.axis)
        case _:
            assert_never(node.op)


def rebuilt(graph: Graph) -> tf.types.experimental.GenericFunction:
    """The whole network as one TensorFlow function of float32 (1, H, W, C)."""

    def network(x: tf.Tensor) -> tf.Tensor:
        values = {graph.input: fake_quantised(x, graph.tensors[graph.input])}
        for node in graph.nodes:
            tensors = graph.ins(node)[: ops.OPS[type(node.op)].n_activations]
            operands = [values[t.name] if t.data is None else constant_operand(t) for t in tensors]
            real = output_of(graph, node, *operands)
            if ops.has_relu(node.op):
                real = tf.nn.relu(real)
            values[node.output] = fake_quantised(real, graph.out(node))
        return values[graph.output]

    return tf.function(network, input_signature=[tf.TensorSpec(graph.tensors[graph.input].shape, tf.float32)])


def main(job: Job) -> None:
    function = rebuilt(job.graph())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        content = converter.convert()
    except Exception as problem:  # its text is the compiler's whole log
        lines = str(problem).strip().splitlines()
        reason = next((line.partition("error: ")[2] for line in lines if "error: " in line), lines[0])
        refuse(reason)
    job.result_file("converted.tflite").write_bytes(content)
    job.finish(ConverterRecord(tf.__version__))


if __name__ == "__main__":
    main(read_job())
