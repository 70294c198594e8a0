"""Networks of uint8, as converters wrote before 2020: LiteRT on the file itself against our graph of int8 codes.

LiteRT's default kernels of uint8 round as those of int8 do, once, but for depthwise convolutions, which round twice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

interpreter = pytest.importorskip("ai_edge_litert.interpreter")
import flatbuffers  # noqa: E402
from ai_edge_litert import schema_py_generated as schema  # noqa: E402

from tests.export.formats.tflite_models import OPS, TYPES, Edge, Net  # noqa: E402
from tinyscene.export.errors import ExportError  # noqa: E402
from tinyscene.export.formats.file_model import FileModel  # noqa: E402
from tinyscene.export.formats.tflite_model import tflite_model  # noqa: E402
from tinyscene.export.formats.tflite_operators.wide_weights import parts_of  # noqa: E402
from tinyscene.export.verify.verify import verify  # noqa: E402
from tinyscene.runtime.arith import Rounding  # noqa: E402
from tinyscene.runtime.arrays import I8  # noqa: E402
from tinyscene.runtime.interpreter import run  # noqa: E402

Step = Callable[[Net], Edge]


def uint8_file(step: Step, *, zero_point: int = 128) -> bytes:
    net = Net(np.random.default_rng(5), (8, 9, 6), per_channel=False)
    out = step(net)
    net.become_uint8(zero_point)
    return net.finish(out)


def litert(data: bytes, model: FileModel, codes: I8) -> I8:
    """The output codes of LiteRT's default kernels on the file itself, 128 lower."""
    engine = interpreter.Interpreter(model_content=data, num_threads=1)
    engine.allocate_tensors()
    source, result = engine.get_input_details()[0]["index"], engine.get_output_details()[0]["index"]
    rows = []
    for vector in codes:
        engine.set_tensor(source, (vector.view(np.uint8) ^ 128)[None])
        engine.invoke()
        rows.append((engine.get_tensor(result)[0] ^ 128).view(np.int8))
    return np.stack(rows)


def require_equal(data: bytes, rounding: Rounding = "single") -> FileModel:
    model = tflite_model(data, "m.tflite")
    codes = model.golden(16).inputs
    expected = run(model.graph, codes, rounding=rounding)
    assert np.array_equal(litert(data, model, codes), expected)
    assert len(np.unique(expected)) > 3
    return model


def alone(kind: str, scale: float | None = None, zero_point: int = 0) -> Step:
    def step(net: Net) -> Edge:
        x = net.input
        out = net.out(x.shape, like=x) if scale is None else net.edge("out", x.shape, scale, zero_point)
        return net.alone(kind, x, out)

    return step


def mean(net: Net) -> Edge:
    options, axes = schema.ReducerOptionsT(), net.constant(np.array([1, 2], np.int32))
    options.keepDims = True
    return net.apply(OPS.MEAN, [net.input.index, axes], net.out((1, 1, 1, 6)), options)


def resized(kind: str) -> Step:
    def step(net: Net) -> Edge:
        options = getattr(schema, f"Resize{kind}OptionsT")()
        code = OPS.RESIZE_BILINEAR if kind == "Bilinear" else OPS.RESIZE_NEAREST_NEIGHBOR
        size = net.constant(np.array([16, 18], np.int32))
        return net.apply(code, [net.input.index, size], net.out((1, 16, 18, 6), like=net.input), options)

    return step


ALONE: dict[str, Step] = {
    "CONV_2D": lambda net: net.conv(net.input, 16, (3, 3), activation="NONE"),
    "CONV_2D, RELU6": lambda net: net.conv(net.input, 40, activation="RELU6"),
    "FULLY_CONNECTED": lambda net: net.dense(net.flat(net.input), 40),
    "AVERAGE_POOL_2D": lambda net: net.pool(net.input, "AVERAGE", (3, 5), (2, 1)),
    "MAX_POOL_2D": lambda net: net.pool(net.input, "MAX", (2, 2), (2, 2)),
    "ADD": lambda net: net.pair("ADD", net.conv(net.input, 6), net.input),
    "SUB": lambda net: net.pair("SUB", net.conv(net.input, 6), net.input),
    "MUL": lambda net: net.pair("MUL", net.conv(net.input, 6), net.input),
    "CONCATENATION": lambda net: net.concat([net.input, net.pool(net.input, "MAX", (3, 3), (1, 1), "SAME")], 3),
    "PAD": lambda net: net.pad(net.input, [[0, 0], [1, 2], [0, 1], [0, 0]]),
    "RELU": alone("RELU", 0.02, -128),
    "RELU6": alone("RELU6"),
    "LOGISTIC": alone("LOGISTIC", 1 / 256, -128),
    "TANH": alone("TANH", 1 / 128),
    "QUANTIZE": lambda net: net.conv(alone("QUANTIZE", 0.05, 3)(net), 4),
    "SOFTMAX": lambda net: net.softmax(net.flat(net.pool(net.input, "MAX", (8, 3), (1, 1)))),
    "MEAN": mean,
    "RESIZE_BILINEAR": resized("Bilinear"),
    "RESIZE_NEAREST_NEIGHBOR": resized("NearestNeighbor"),
}


@pytest.mark.parametrize("kind", ALONE)
def test_litert_computes_an_operator_on_uint8_as_the_graph_on_int8(kind):
    require_equal(uint8_file(ALONE[kind]))


@pytest.mark.parametrize("zero_point", [0, 90, 128, 140, 255])
def test_weights_with_any_zero_point_are_exact(zero_point):
    """Weights minus their zero point that leave int8 are sums of int8 weights of the same input."""
    conv = require_equal(uint8_file(ALONE["CONV_2D"], zero_point=zero_point))
    assert ("Concat" in {type(node.op).__name__ for node in conv.graph.nodes}) == (zero_point != 128)
    require_equal(uint8_file(ALONE["FULLY_CONNECTED"], zero_point=zero_point))
    for multiplier in (1, 2):
        depthwise = uint8_file(
            lambda net, m=multiplier: net.depthwise(net.input, (3, 2), (1, 2), multiplier=m),
            zero_point=zero_point,
        )
        require_equal(depthwise, "double")


def test_channels_whose_weights_fit_int8_are_not_copied():
    """Of a trained network few weights leave int8."""

    def step(net: Net) -> Edge:
        out = net.conv(net.input, 7, (2, 3), activation="NONE")
        buffer = net.buffers[net.tensors[net.operators[0].inputs[1]].buffer]
        codes = np.asarray(buffer.data).view(np.int8).reshape(7, 2, 3, 6) // 2
        codes[2, 0, 1, [1, 4]] = codes[6, 1, 1, 5] = 127
        buffer.data = codes.view(np.uint8).reshape(-1)
        return out

    graph = require_equal(uint8_file(step, zero_point=100)).graph
    assert [type(node.op).__name__ for node in graph.nodes] == ["Slice", "Slice", "Concat", "Conv2D"]
    assert graph.ins(graph.nodes[3])[0].shape[3] == 6 + 1 + 2


def test_parts_of_a_weight_are_int8_and_add_up():
    weight = np.arange(-255, 256, dtype=np.int16)
    parts = parts_of(weight)
    assert [part.dtype for part in parts] == [np.int8] * 3
    assert np.array_equal(np.sum(parts, axis=0, dtype=np.int16), weight)
    assert len(parts_of(np.array([-128, 127], np.int16))) == 1


@pytest.mark.needs_module("tflite_micro")
def test_a_network_of_uint8_is_verified_as_one_of_int8():
    def step(net: Net) -> Edge:
        x = net.conv(net.input, 8, (3, 3), (2, 2), "RELU6")
        x = net.conv(net.depthwise(x, (3, 3), (1, 1), "RELU6"), 12, activation="RELU6")
        x = net.pool(x, "AVERAGE", (3, 5), (1, 1))
        return net.softmax(net.dense(net.flat(x), 5))

    model = tflite_model(uint8_file(step, zero_point=121), "m.tflite")
    results = verify(model.graph, model.golden(3).inputs, targets=("litert", "tflm"), shipped=model).results
    assert {r.target: r.remarks() for r in results if not r.passed} == {}


def with_type(data: bytes, name: str, kind: int) -> bytes:
    """The file with another type of the tensor whose name contains this."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    tensor = next(t for t in model.subgraphs[0].tensors if name in t.name.decode())
    tensor.type = kind
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_what_uint8_lacks_is_refused_by_name():
    refused = {
        "AVERAGE_POOL_2D.*even number": lambda net: net.pool(net.input, "AVERAGE", (2, 3), (1, 1)),
        "AVERAGE_POOL_2D.*even number ": lambda net: net.pool(net.input, "AVERAGE", (3, 3), (1, 1), "SAME"),
        r"HARD_SWISH.*limit: this operator on uint8": alone("HARD_SWISH", 0.02, -20),
    }
    for words, step in refused.items():
        with pytest.raises(ExportError, match=words.strip()):
            tflite_model(uint8_file(step), "m.tflite")
    conv = uint8_file(ALONE["CONV_2D"])
    with pytest.raises(ExportError, match=r"CONV_2D.*types of its tensors"):
        tflite_model(with_type(conv, "constant_1", TYPES.INT8), "m.tflite")

    with pytest.raises(ExportError, match=r"CONV_2D.*zero point; expected one of the codes, 0 to 255; got 65535"):
        tflite_model(uint8_file(ALONE["CONV_2D"], zero_point=65535), "m.tflite")

    def below_zero(net: Net) -> Edge:
        net.tensors[net.input.index].quantization.zeroPoint[:] = -150
        return net.conv(net.input, 4)

    with pytest.raises(ExportError, match=r"CONV_2D.*zero point; expected one of the codes, 0 to 255; got -22"):
        tflite_model(uint8_file(below_zero), "m.tflite")
