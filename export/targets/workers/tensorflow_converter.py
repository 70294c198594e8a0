"""Builds a graph again in TensorFlow's own float ops and fake quantisation, and has its converter write a file.

A program for a Python with TensorFlow, this project's ``runtime`` on its path: ``python converter_worker.py FOLDER``;
FOLDER holds graph.json and graph.npz and gets converted.tflite. TensorFlow is told real ranges and real weights, never
a scale or a code: it works out both by itself. Prints its version. Refuses what TensorFlow refuses, in its words.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node, Tensor
from tinyscene.runtime.graph_io import read_graph


def faked(real: Any, tensor: Tensor) -> Any:
    """An activation through TensorFlow's quantiser of 8 bits over the range that the graph's codes span."""
    scale, zero_point = tensor.quant.scale[0], tensor.quant.zero_point
    low, high = (-128 - zero_point) * scale, (127 - zero_point) * scale
    return tf.quantization.fake_quant_with_min_max_args(real, low, high)


def faked_weight(tensor: Tensor, layout: tuple[int, ...]) -> Any:
    """A weight in TensorFlow's ``layout``, symmetric over 255 codes, as a whole or along its last axis."""
    assert tensor.data is not None
    scale, axis = np.asarray(tensor.quant.scale, np.float32), tensor.quant.axis
    along = [-1 if i == axis else 1 for i in range(tensor.data.ndim)]
    real = tf.constant((tensor.data.astype(np.float32) * scale.reshape(along)).transpose(layout))
    symmetric = {"num_bits": 8, "narrow_range": True}
    if axis is None:
        return tf.quantization.fake_quant_with_min_max_args(real, -127 * scale[0], 127 * scale[0], **symmetric)
    low, high = tf.constant(-127 * scale), tf.constant(127 * scale)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(real, low, high, **symmetric)


def real_bias(graph: Graph, node: Node) -> np.ndarray:
    tensor = graph.ins(node)[2]
    assert tensor.data is not None
    return (tensor.data * np.asarray(tensor.quant.scale, np.float64)).astype(np.float32)


def padded(graph: Graph, node: Node, x: Any, kernel: tuple[int, ...]) -> tuple[Any, str]:
    """TensorFlow's SAME where the pads are that, else a pad of its own."""
    op, size = node.op, graph.ins(node)[0].shape[1:3]
    total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, op.stride, strict=True)]
    if op.pads == (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2):
        return x, "SAME"
    top, left, bottom, right = op.pads
    if not any(op.pads):
        return x, "VALID"
    return tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]]), "VALID"


def conv2d(graph: Graph, node: Node, x: Any) -> Any:
    x, padding = padded(graph, node, x, graph.ins(node)[1].shape[1:3])
    weight = faked_weight(graph.ins(node)[1], (1, 2, 3, 0))
    return tf.nn.conv2d(x, weight, strides=node.op.stride, padding=padding) + real_bias(graph, node)


def depthwise(graph: Graph, node: Node, x: Any) -> Any:
    x, padding = padded(graph, node, x, graph.ins(node)[1].shape[1:3])
    weight = tf.transpose(faked_weight(graph.ins(node)[1], (0, 1, 2, 3)), (1, 2, 3, 0))
    strides = (1, *node.op.stride, 1)
    return tf.nn.depthwise_conv2d(x, weight, strides=strides, padding=padding) + real_bias(graph, node)


def fully_connected(graph: Graph, node: Node, x: Any) -> Any:
    weight = faked_weight(graph.ins(node)[1], (1, 0))
    return tf.matmul(x, weight) + real_bias(graph, node)


def mean(graph: Graph, node: Node, x: Any) -> Any:
    return tf.reduce_mean(x, axis=(1, 2) if node.op.over == "space" else 3, keepdims=node.op.keep_dims)


def pool(graph: Graph, node: Node, x: Any) -> Any:
    x, padding = padded(graph, node, x, node.op.kernel)
    return tf.nn.pool(x, node.op.kernel, "MAX" if node.op.kind == "max" else "AVG", node.op.stride, padding)


def lookup(graph: Graph, node: Node, x: Any) -> Any:
    functions = {"relu": tf.nn.relu, "relu6": tf.nn.relu6, "logistic": tf.sigmoid, "requantise": tf.identity}
    return functions[node.op.function](x)


ROWS: dict[type, Callable[..., Any]] = {
    ops.Conv2D: conv2d,
    ops.DepthwiseConv2D: depthwise,
    ops.FullyConnected: fully_connected,
    ops.Mean: mean,
    ops.Add: lambda graph, node, a, b: a + b,
    ops.Sub: lambda graph, node, a, b: a - b,
    ops.Mul: lambda graph, node, a, b: a * b,
    ops.Rsqrt: lambda graph, node, x: tf.math.rsqrt(x),
    ops.Reshape: lambda graph, node, x: tf.reshape(x, node.op.shape),
    ops.Softmax: lambda graph, node, x: tf.nn.softmax(x),
    ops.Pool2D: pool,
    ops.Lookup: lookup,
    ops.Concat: lambda graph, node, *parts: tf.concat(parts, node.op.axis),
}


def rebuilt(graph: Graph) -> Any:
    """The whole network as one function of TensorFlow."""

    def network(x: Any) -> Any:
        values = {graph.input: faked(x, graph.tensors[graph.input])}
        for node in graph.nodes:
            real = ROWS[type(node.op)](graph, node, *(values[name] for name in node.inputs if name in values))
            if ops.has_relu(node.op):
                real = tf.nn.relu(real)
            values[node.output] = faked(real, graph.out(node))
        return values[graph.output]

    return tf.function(network, input_signature=[tf.TensorSpec(graph.tensors[graph.input].shape, tf.float32)])


def main(folder: Path) -> None:
    graph = read_graph(folder)
    function = rebuilt(graph)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        content = converter.convert()
    except Exception as problem:  # with the compiler's whole log as its text
        lines = str(problem).strip().splitlines()
        reason = next((line.partition("error: ")[2] for line in lines if "error: " in line), lines[0])
        raise SystemExit(reason) from None
    (folder / "converted.tflite").write_bytes(content)
    print(tf.__version__)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
