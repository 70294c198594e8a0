"""Convolutions and pools as other converters write them: read into the op set, and equal to the engines on the file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import ACTIVATIONS, OPS, Edge, Net
from tests.graphs import random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_file import Int8File
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.export.formats.tflite_rebuild import rebuilt
from tinyscene.runtime import ops
from tinyscene.runtime.engines import LiteRTEngine, TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite

Rng = np.random.Generator


def read_and_compared(net: Net, output: Edge, *, on_tflm: bool = True) -> Graph:
    """The graph of the file; both kernels of LiteRT and TFLite Micro compute on the file what it does."""
    data = net.finish(output)
    graph = from_tflite(data)
    x, file = random_input(np.random.default_rng(5), graph, 8), rebuilt(Int8File(data, "net"))
    engines = [LiteRTEngine(graph, file), LiteRTEngine(graph, file, "reference")]
    for engine in (*engines, TFLMEngine(graph, file if on_tflm else to_tflite(graph))):
        assert np.array_equal(engine.output_codes(x), run(graph, x, rounding=engine.rounding)), engine.name
    return graph


def batched(net: Net, block: list[int], pads: list[list[int]], crops: list[list[int]], rank: int = 4) -> Edge:
    """A convolution with kernel 3 (3x3 or 1x3) between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, as in older files."""
    x, count = net.input, int(np.prod(block))
    spatial = [size + sum(p) for size, p in zip(x.shape[1:-1], pads, strict=True)]
    parts = [size // b for size, b in zip(spatial, block, strict=True)]
    x = net.view("SPACE_TO_BATCH_ND", x, (count, *parts, x.shape[-1]), block, pads)
    if rank == 3:
        x = net.view("EXPAND_DIMS", x, (count, 1, *parts, x.shape[-1]), [1])
    y = net.conv(x, 6, (1, 3) if rank == 3 else (3, 3), padding="VALID")
    if rank == 3:
        y = net.view("RESHAPE", y, (count, *y.shape[2:]), [count, *y.shape[2:]])
    sizes = [size * b - sum(c) for size, b, c in zip(y.shape[1:-1], block, crops, strict=True)]
    return net.view("BATCH_TO_SPACE_ND", y, (1, *sizes, 6), block, crops)


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize(
    ("shape", "block", "pads", "crops", "dilation", "left"),
    [
        ((12, 9, 4), [2, 3], [[2, 2], [3, 3]], [[0, 0], [0, 0]], (2, 3), (2, 3, 2, 3)),
        ((11, 10, 3), [2, 4], [[2, 3], [4, 6]], [[0, 1], [0, 2]], (2, 4), (2, 4, 2, 4)),
        ((13, 5), [3], [[0, 2]], [[0, 0]], (1, 3), (0, 0, 0, 2)),
        ((16, 5), [4], [[8, 0]], [[0, 0]], (1, 4), (0, 8, 0, 0)),
    ],
    ids=["same", "same with a rest", "one dimension", "causal in one dimension"],
)
def test_a_convolution_of_a_batch_is_read_as_dilated(shape, block, pads, crops, dilation, left) -> None:
    """TFLite Micro does not pad a batch; it is compared on our own file, which has none."""
    net = Net(np.random.default_rng(2), shape)
    graph = read_and_compared(net, batched(net, block, pads, crops, rank=len(shape) + 1), on_tflm=False)
    (convolution,) = (node.op for node in graph.nodes if isinstance(node.op, ops.Conv2D))
    assert (convolution.dilation, convolution.pads) == (dilation, left)
    assert len(graph.nodes) == (1 if len(shape) == 3 else 3)


@pytest.mark.needs_module("tflite_micro")
def test_tflite_micro_runs_a_batch_without_padding_only() -> None:
    net = Net(np.random.default_rng(2), (10, 10, 4))
    read_and_compared(net, batched(net, [2, 2], [[0, 0], [0, 0]], [[0, 0], [0, 0]]))
    net = Net(np.random.default_rng(2), (10, 10, 4))
    data = net.finish(batched(net, [2, 2], [[1, 1], [1, 1]], [[0, 1], [0, 0]]))
    with pytest.raises(RuntimeFailure, match=r"engine tflm, operator 0 .*: its padding has other codes"):
        TFLMEngine(from_tflite(data), rebuilt(Int8File(data, "net")))


def test_a_batch_that_is_no_dilated_convolution_is_refused() -> None:
    net = Net(np.random.default_rng(2), (12, 12, 4))
    with pytest.raises(ExportError, match=r"BATCH_TO_SPACE_ND\): crops more than was padded"):
        from_tflite(net.finish(batched(net, [2, 2], [[0, 0], [0, 0]], [[0, 2], [0, 0]])))
    net = Net(np.random.default_rng(2), (12, 12, 4))
    x = net.view("SPACE_TO_BATCH_ND", net.input, (4, 6, 6, 4), [2, 2], [[0, 0], [0, 0]])
    with pytest.raises(ExportError, match=r"operator 0 \(SPACE_TO_BATCH_ND\): a batch is read by; .*got MUL"):
        from_tflite(net.finish(net.pair("MUL", x, x)))


@pytest.mark.needs_module("tflite_micro")
def test_several_outputs_for_each_channel_stay_depthwise() -> None:
    net = Net(np.random.default_rng(3), (9, 8, 5))
    graph = read_and_compared(net, net.depthwise(net.input, (3, 3), (2, 2), multiplier=3))
    (node,) = graph.nodes
    assert isinstance(node.op, ops.DepthwiseConv2D)
    assert graph.ins(node)[1].shape == (1, 3, 3, 15)


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize(("scale", "plain"), [(6 / 255, True), (6 / 254.4, False), (5 / 255, True), (7 / 255, False)])
def test_a_relu6_whose_end_no_code_exceeds_is_a_relu(scale: float, plain: bool) -> None:
    """With a scale of 6 / 255 and zero point -128 six is 126.99999 in float32, and its code is 127."""
    net = Net(np.random.default_rng(4), (6, 6, 3))
    net.out = lambda shape, activation="NONE", like=None: net.edge("y", shape, scale, -128)
    graph = read_and_compared(net, net.conv(net.input, 8, (3, 3), activation="RELU6"))
    assert [type(node.op) for node in graph.nodes] == [ops.Conv2D] if plain else [ops.Conv2D, ops.Lookup]


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize(("scale", "zero_point"), [(0.02, 5), (0.013, -60), (0.3, 0), (1.7, 3), (0.002, 100)])
def test_a_fused_relu_from_minus_one_to_one_is_a_table(scale: float, zero_point: int) -> None:
    net = Net(np.random.default_rng(4), (6, 6, 3))
    net.out = lambda shape, activation="NONE", like=None: net.edge("y", shape, scale, zero_point)
    graph = read_and_compared(net, net.conv(net.input, 8, (3, 3), activation="RELU_N1_TO_1"))
    assert [type(node.op) for node in graph.nodes] == [ops.Conv2D, ops.Lookup]


def transposed(
    net: Net, x: Edge, kernel: tuple[int, int], stride: tuple[int, int], padding: str, *, bias: bool
) -> Edge:
    """A TRANSPOSE_CONV to five channels, with the output shape that TensorFlow computes."""
    options = schema.TransposeConvOptionsT()
    options.padding, (options.strideH, options.strideW) = getattr(schema.Padding, padding), stride
    options.fusedActivationFunction = ACTIVATIONS.RELU if bias else ACTIVATIONS.NONE
    rest = [max(k - s, 0) if padding == "VALID" else 0 for k, s in zip(kernel, stride, strict=True)]
    shape = (1, x.shape[1] * stride[0] + rest[0], x.shape[2] * stride[1] + rest[1], 5)
    constants = net.weight((5, *kernel, x.shape[3]), 0, int(np.prod(kernel)) * x.shape[3], x, net.per_channel)
    inputs = [net.constant(np.array(shape, np.int32)), constants[0], x.index, *constants[1:] * bias]
    return net.apply(OPS.TRANSPOSE_CONV, inputs, net.out(shape, "RELU" if bias else "NONE"), options)


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_transposed_convolutions_are_read(padding: str, bias: bool, per_channel: bool) -> None:
    for kernel, stride in (((3, 4), (2, 2)), ((2, 2), (2, 1)), ((5, 3), (1, 3))):
        net = Net(np.random.default_rng(7), (5, 6, 4), per_channel=per_channel)
        graph = read_and_compared(net, transposed(net, net.input, kernel, stride, padding, bias=bias))
        assert [type(node.op) for node in graph.nodes] == [ops.TransposeConv2D]


@pytest.mark.needs_module("tflite_micro")
def test_a_transposed_convolution_that_xnnpack_leaves_to_another_kernel_is_refused_for_litert() -> None:
    net = Net(np.random.default_rng(7), (5, 6, 4))
    data = net.finish(transposed(net, net.input, (1, 2), (3, 2), "SAME", bias=True))
    graph, file = from_tflite(data), rebuilt(Int8File(data, "net"))
    with pytest.raises(
        RuntimeFailure, match=r"engine litert, operator 0 \(TRANSPOSE_CONV\): .*smaller than the stride"
    ):
        LiteRTEngine(graph, file)
    x = random_input(np.random.default_rng(5), graph, 4)
    for engine in (TFLMEngine(graph, file), LiteRTEngine(graph, to_tflite(graph))):
        assert np.array_equal(engine.output_codes(x), run(graph, x, rounding=engine.rounding)), engine.name


def test_a_transposed_convolution_of_another_size_is_refused() -> None:
    net = Net(np.random.default_rng(7), (5, 6, 4))
    output = transposed(net, net.input, (3, 3), (2, 2), "SAME", bias=True)
    shape = np.array([1, 10, 14, 5], np.int32)
    net.tensors[output.index].shape = shape.tolist()
    net.buffers[-1].data = np.frombuffer(shape.tobytes(), np.uint8)
    with pytest.raises(ExportError, match=r"TRANSPOSE_CONV\): output shape does not fit the input's"):
        from_tflite(net.finish(output))


@pytest.mark.needs_module("tflite_micro")
def test_weights_of_minus_128_are_read() -> None:
    net = Net(np.random.default_rng(6), (5, 5, 4))
    output = net.conv(net.input, 4, (3, 3))
    net.buffers[1].data = np.full(4 * 9 * 4, 128, np.uint8)
    graph = read_and_compared(net, output)
    assert {tensor.data.min() for tensor in graph.constants() if tensor.dtype == "int8"} == {-128}
