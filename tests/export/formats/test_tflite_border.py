"""The border of TFLite files: every number is checked once, and mutated files are refused in words or read whole."""

from __future__ import annotations

import struct
from collections.abc import Callable

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import NETS, ds_cnn
from tests.graphs import one_op, random_input, small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_file import TfliteFile
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.formats.tflite_operators import READERS
from tinyscene.runtime.engines import LiteRTEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.flatbuffer import Malformed, read_flatbuffer
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_schema import PLAIN_OPERATORS, TYPES, TfliteTables
from tinyscene.runtime.tflite_tables import read_tables
from tinyscene.runtime.tflite_write import to_tflite

INT32 = 2**31 - 1


def keywords() -> bytes:
    """DS-CNN with float ends, as converters write it."""
    net, output = ds_cnn(np.random.default_rng(12))
    return net.finish(output, ends="float32")


def changed(data: bytes, change: Callable[[schema.ModelT], None]) -> bytes:
    """The file with something changed in its object tree."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor(number: int, name: str, value: object) -> Callable[[schema.ModelT], None]:
    return lambda model: setattr(model.subgraphs[0].tensors[number], name, value)


def quant(number: int, name: str, value: object) -> Callable[[schema.ModelT], None]:
    return lambda model: setattr(model.subgraphs[0].tensors[number].quantization, name, value)


def operator(number: int, name: str, value: object) -> Callable[[schema.ModelT], None]:
    return lambda model: setattr(model.subgraphs[0].operators[number], name, value)


def option(number: int, name: str, value: object) -> Callable[[schema.ModelT], None]:
    return lambda model: setattr(model.subgraphs[0].operators[number].builtinOptions, name, value)


def graph(name: str, value: object) -> Callable[[schema.ModelT], None]:
    return lambda model: setattr(model.subgraphs[0], name, value)


def test_buffer_of_a_removed_tensor_crashed_tflite_micro():
    """The float output behind the last DEQUANTIZE is no part of the int8 network, and its buffer does not exist."""
    data = changed(keywords(), tensor(-1, "buffer", INT32))
    with pytest.raises(ExportError, match=r"^net, tensor \d+ 'float32_.*', buffer: .* not exist; .*got 2147483647"):
        tflite_model(data, "net")


# Operator 0 is the QUANTIZE at the start, operator 1 the first convolution with weight 1 and bias 2.
REFUSED: dict[str, tuple[Callable[[schema.ModelT], None], str]] = {
    "tensor that does not exist": (operator(1, "inputs", [0, INT32, 2]), "operator 1, inputs: .*out of range"),
    "tensor just behind the last": (operator(1, "inputs", [0, 900, 2]), "operator 1, inputs and outputs: .*not exist"),
    "output that does not exist": (operator(1, "outputs", [900]), "operator 1, inputs and outputs: .*does not exist"),
    "negative output": (operator(1, "outputs", [-1]), "operator 1, outputs: .*out of range; expected 0 to"),
    "operator code": (operator(1, "opcodeIndex", INT32), "operator 1, opcode_index: .*does not exist"),
    "missing input": (operator(1, "inputs", [0, -1, 2]), "operator 1: .*input 1 of CONV_2D is missing"),
    "no input": (operator(1, "inputs", []), "operator 1: .*input or output of CONV_2D is missing"),
    "no output": (operator(-1, "outputs", []), "input or output of DEQUANTIZE is missing"),
    "missing shape": (operator(-4, "inputs", [21, -1]), "operator 11: .*input 1 of RESHAPE is missing"),
    "input of the graph": (graph("inputs", [900]), "inputs: .*does not exist"),
    "output of the graph": (graph("outputs", [-2]), "outputs: .*out of range"),
    "output that nothing writes": (graph("operators", []), "is an output that no operator writes"),
    "negative size": (tensor(0, "shape", [1, -5, 4, 1]), "tensor 0, shape: .*out of range; expected 0 or more"),
    "product of sizes": (tensor(0, "shape", [1, 65536, 65536, 1]), "tensor 0 .*too large"),
    "nine dimensions": (tensor(0, "shape", [1] * 9), "tensor 0 .*too large; expected 8 dimensions"),
    "shape signature": (tensor(1, "shapeSignature", [-1, 2]), "tensor 1 .*shape_signature contradicts shape"),
    "external buffer": (tensor(1, "externalBuffer", 3), "tensor 1, external_buffer: .*out of range"),
    "variable": (tensor(5, "isVariable", True), "limit: a state that an operator keeps by itself"),
    "number of scales": (quant(1, "scale", np.ones(3, np.float32)), "tensor 1 .*number of scales; expected 1, or 64"),
    "number of zero points": (quant(1, "zeroPoint", np.zeros(3, np.int64)), "tensor 1 .*number of zero points"),
    "scale that is no number": (quant(1, "scale", np.full(64, np.nan, np.float32)), "tensor 1.*scale: .*out of range"),
    "negative scale": (quant(0, "scale", np.float32([-1])), "tensor 0.*scale: .*out of range"),
    "dimension of the scales": (quant(1, "quantizedDimension", INT32), "quantized_dimension: .*out of range"),
    "other dimension": (quant(1, "quantizedDimension", 3), "number of scales; expected 1, or 1 as dimension 3"),
    "zero point beyond int32": (quant(0, "zeroPoint", np.int64([2**40])), "zero_point: .*out of range"),
    "bytes of a buffer": (
        lambda model: setattr(model.buffers[1], "data", model.buffers[1].data[:-1]),
        "tensor 1 .*its buffer has another size; expected 2,560 bytes for int8",
    ),
    "buffer behind the file": (lambda m: setattr(m.buffers[1], "offset", 2**40), "buffer 1, offset: .*out of range"),
    "stride of 2^31 - 1": (option(1, "strideH", INT32), "operator 1, options, stride_h: .*out of range"),
    "stride of -2^31": (option(1, "strideW", -(2**31)), "operator 1, options, stride_w: .*out of range"),
    "padding": (option(1, "padding", 2), "operator 1, options, padding: .*out of range"),
    "fused activation": (option(1, "fusedActivationFunction", 77), "fused_activation_function: .*out of range"),
    "options of another operator": (
        lambda m: (operator(1, "builtinOptions", schema.Pool2DOptionsT())(m), operator(1, "builtinOptionsType", 5)(m)),
        "operator 1, options, stride_w: .*out of range",
    ),
    "no options": (operator(1, "builtinOptionsType", 0), "operator 1: .*has no options"),
    "two graphs": (lambda m: m.subgraphs.append(m.subgraphs[0]), "several graphs in one file"),
    "version of the schema": (lambda m: setattr(m, "version", 2), "version: .*out of range; expected 3 to 3"),
    "circle": (
        lambda m: m.subgraphs[0].operators.insert(0, m.subgraphs[0].operators.pop(2)),
        "operator 0: .*reads tensor .*, which no operator before it writes",
    ),
    "two writers": (
        lambda m: m.subgraphs[0].operators.insert(1, m.subgraphs[0].operators[1]),
        "operator 2: .*writes tensor .*, which is written or stored already",
    ),
    "written constant": (operator(1, "outputs", [1]), "operator 1: .*writes tensor 1, which is written or stored"),
}


@pytest.fixture(scope="module")
def original() -> bytes:
    return keywords()


@pytest.mark.parametrize("fault", REFUSED)
def test_numbers_that_are_refused(fault, original):
    change, message = REFUSED[fault]
    with pytest.raises(ExportError, match=f"^net.*{message}") as refusal:
        tflite_model(changed(original, change), "net")
    assert "\n" not in str(refusal.value)


def test_a_name_in_a_bundle_that_is_no_utf8_is_an_error_about_the_file():
    """LiteRT's Python binding raises UnicodeDecodeError when it lists inputs and outputs."""
    graph = small_net(np.random.default_rng(0), grn=False)
    data = to_tflite(graph)
    assert data.count(b"input") == 1
    with pytest.raises(RuntimeFailure, match=r"^engine litert: cannot load the model file; .*decode"):
        LiteRTEngine(graph, data.replace(b"input", b"\xff\xffput"))


def test_what_the_file_only_carries_is_dropped(original):
    """Metadata, signatures and descriptions do not reach an engine, and neither does NUL in a name."""

    def change(model: schema.ModelT) -> None:
        model.description = "a description"
        metadata = schema.MetadataT()
        metadata.name, metadata.buffer = "min_runtime_version", INT32
        model.metadata = [metadata]
        model.subgraphs[0].tensors[3].name = "a\0b"

    model = tflite_model(changed(original, change), "net")
    data = model.file("m.tflite")
    written = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    assert written.metadata is None
    assert written.description is None
    assert b"min_runtime_version" not in data
    assert "a\ufffdb".encode() in data
    again = TfliteFile(read_tables(data, "again"), "again")
    assert len(again.operators) == len(model.graph.nodes)
    assert {again.type(index) for index in range(len(again.names))} == {"int8", "int32"}


def plain() -> bytes:
    net, output = ds_cnn(np.random.default_rng(12))
    return net.finish(output)


def test_pools_with_absurd_windows_are_refused():
    """SAME with a stride or a window near 2^31 would need that much padding."""
    data = to_tflite(one_op(np.random.default_rng(0), "pool2d"))
    same = changed(data, option(-1, "padding", schema.Padding.SAME))
    for name, value in (("strideH", INT32), ("filterHeight", INT32), ("filterWidth", -(2**31))):
        with pytest.raises(ExportError, match="out of range"):
            tflite_model(changed(same, option(-1, name, value)), "net")
    tall = changed(same, option(-1, "filterHeight", 65_535))
    with pytest.raises(ExportError, match="input too large; expected 16,777,216 elements at most"):
        tflite_model(changed(tall, option(-1, "filterWidth", 65_535)), "net")


def test_numbers_of_operators_are_those_of_the_schema():
    """The runtime has no generated schema; what it lets pass is what the reader reads, and the DEQUANTIZE at an end."""
    beside_others = {"BATCH_TO_SPACE_ND", "DEQUANTIZE"}  # read with the operator before them
    assert set(PLAIN_OPERATORS.values()) == READERS.keys() | beside_others
    assert all(getattr(schema.BuiltinOperator, name) == code for code, name in PLAIN_OPERATORS.items())
    names = {code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
    assert all(names[code] == name for code, name in enumerate(TYPES))


@pytest.mark.parametrize("length", [2**31, 2**32 - 1])
def test_lengths_beyond_the_file_allocate_nothing(length):
    data = bytearray(keywords())
    for at in range(0, len(data) - 4, 4):  # every vector of 64 scales, and whatever else looks like one
        if data[at : at + 4] == struct.pack("<I", 64):
            data[at : at + 4] = struct.pack("<I", length)
    with pytest.raises(Malformed, match="points outside the file"):
        read_flatbuffer(TfliteTables, bytes(data))


def test_tables_that_share_their_parts_are_read_within_a_limit():
    """65,000 tensors that are one table with a name of 200 kB would take 13 GB."""
    name = "n" * 200_000
    builder = flatbuffers.Builder(1024)
    text = builder.CreateString(name)
    schema.TensorStart(builder)
    schema.TensorAddName(builder, text)
    one = schema.TensorEnd(builder)
    schema.SubGraphStartTensorsVector(builder, 65_000)
    for _ in range(65_000):
        builder.PrependUOffsetTRelative(one)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    subgraph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(subgraph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(RuntimeFailure, match="tables share their parts"):
        read_tables(bytes(builder.Output()), "net")


EXTREMES = (0, 1, 2, 127, 255, 65_536, 2**24, INT32, 2**31, 2**32 - 1)


def mutants(data: bytes, rng: np.random.Generator, count: int):
    """The file with bytes or aligned 32-bit numbers replaced, or cut."""
    for _ in range(count):
        mutant, way = bytearray(data), rng.integers(10)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(mutant) // 4)) * 4
            if way < 5:
                mutant[at : at + 4] = struct.pack("<I", EXTREMES[rng.integers(len(EXTREMES))])
            else:
                mutant[at + int(rng.integers(4))] = int(rng.integers(256))
        yield bytes(mutant[: rng.integers(len(mutant))] if way == 9 else mutant)


def originals() -> list[bytes]:
    """Three small files: of one convolution, of odd parts, and our own."""
    rng = np.random.default_rng(5)
    odd, output = NETS["odd_parts"](rng)
    return [odd.finish(output), odd.finish(output, ends="float32"), to_tflite(small_net(rng, grn=False))]


def read_mutants(seed: int, count: int) -> tuple[int, int]:
    """Numbers of refused and accepted mutants; one in eight of those accepted is run."""
    rng, messages, accepted = np.random.default_rng(seed), [], 0
    for data in originals():
        for mutant in mutants(data, rng, count):
            try:
                model = tflite_model(mutant, "mutant")
            except ExportError as problem:
                messages.append(str(problem))
                continue
            if accepted % 8 == 0:
                run(model.graph, random_input(rng, model.graph))
            accepted += 1
    assert not any("\n" in message for message in messages)
    return len(messages), accepted


def test_mutants_are_refused_in_words_or_run():
    refused, accepted = read_mutants(0, 100)
    assert refused > 60
    assert accepted > 50


@pytest.mark.slow
def test_many_mutants_are_refused_in_words_or_run():
    refused, accepted = read_mutants(1, 2000)
    assert refused + accepted == 6_000
