"""TFLite files with several inputs and outputs: every engine and the firmware compute the graph's codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.export.formats.tflite_models import OPS, Edge, Net, schema
from tests.graphs import random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.firmware_harness.build.targets import CORTEX_M4, HOST
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.arith import ROUNDINGS
from tinyscene.runtime.engines import Engine, LiteRTEngine, NumpyEngine, OrtEngine, TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.plan import plan
from tinyscene.runtime.vectors import joined, parted

pytestmark = [pytest.mark.needs_module("tflite_micro", "onnxruntime"), pytest.mark.needs_tool("gcc")]


def output_read_inside(net: Net) -> tuple[Edge, ...]:
    """An output that another layer reads, and that layer's."""
    first = net.conv(net.input, 4)
    return first, net.conv(first, 4)


def inputs_of_two_shapes(net: Net) -> tuple[Edge, ...]:
    """A picture and a row of numbers; scores and a picture."""
    other = net.new_input((12,))
    hidden = net.conv(net.input, 6, (3, 3), (2, 2))
    gate = net.dense(other, 6, "RELU")
    gate = net.view("RESHAPE", gate, (1, 1, 1, 6), [1, 1, 1, 6], options=schema.ReshapeOptionsT())
    product = net.pair("MUL", hidden, gate)
    return net.softmax(net.dense(net.flat(product), 5)), product


def three_of_each(net: Net) -> tuple[Edge, ...]:
    """Inputs of one shape, used in another order than the file's."""
    second, third = net.new_input(net.input.shape[1:]), net.new_input(net.input.shape[1:])
    total = net.pair("ADD", third, net.input)
    difference = net.pair("SUB", second, total)
    return difference, total, net.pool(second, "MAX", (2, 2), (2, 2))


def output_twice(net: Net) -> tuple[Edge, ...]:
    """One tensor in two places of the list of outputs."""
    x = net.conv(net.input, 4)
    return x, x


def input_as_output(net: Net) -> tuple[Edge, ...]:
    """An input that is given out as it is, beside a layer's output."""
    return net.input, net.conv(net.input, 4)


def two_inputs_without_operators(net: Net) -> tuple[Edge, ...]:
    """Both inputs are outputs, in the other order."""
    return net.new_input((3, 3, 2)), net.input


def unread_input(net: Net) -> tuple[Edge, ...]:
    """An input that no layer reads."""
    net.new_input((5,))
    return (net.conv(net.input, 4),)


def pad_as_output(net: Net) -> tuple[Edge, ...]:
    """A PAD that a convolution takes over and that is an output too."""
    padded = net.pad(net.input, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return padded, net.conv(padded, 4, (3, 3), padding="VALID")


def parts_as_outputs(net: Net) -> tuple[Edge, ...]:
    """The outputs of one operator."""
    x = net.conv(net.input, 6)
    parts = [net.out((*x.shape[:3], 2), like=x) for _ in range(3)]
    net.operator(OPS.SPLIT, [net.constant(np.array(3, np.int32)), x.index], parts[0].index, schema.SplitOptionsT())
    net.operators[-1].outputs = [part.index for part in parts]
    net.operators[-1].builtinOptions.numSplits = 3
    return parts[2], parts[0]


CASES: dict[str, Callable[[Net], tuple[Edge, ...]]] = {
    made.__name__: made
    for made in (
        output_read_inside,
        inputs_of_two_shapes,
        three_of_each,
        output_twice,
        input_as_output,
        two_inputs_without_operators,
        unread_input,
        pad_as_output,
        parts_as_outputs,
    )
}


def read(case: str, ends: str = "int8") -> FileModel:
    net = Net(np.random.default_rng(4), (6, 6, 3))
    outputs = CASES[case](net)
    return tflite_model(net.finish(*outputs, ends=ends), "m.tflite")


@pytest.mark.parametrize("case", CASES)
def test_every_engine_and_the_firmware_compute_the_graph(case: str) -> None:
    model = read(case)
    graph, file = model.graph, model.file("model.tflite")
    codes = random_input(np.random.default_rng(0), graph, 3)
    expected = {rounding: NumpyEngine(graph, rounding).output_codes(codes) for rounding in ROUNDINGS}
    engines: list[Engine] = [
        LiteRTEngine(graph, file),
        LiteRTEngine(graph, file, "reference"),
        TFLMEngine(graph, file),
        OrtEngine(graph, to_onnx(graph)),
        FirmwareEngine(graph, HOST),
        FirmwareEngine(graph, HOST, "single"),
    ]
    for engine in engines:
        assert np.array_equal(engine.output_codes(codes), expected[engine.rounding]), engine.name
    assert np.array_equal(run(graph, codes, arena=plan(graph)), expected["double"])


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("case", ["output_read_inside", "inputs_of_two_shapes"])
def test_outputs_stay_alive_on_the_device(case: str) -> None:
    """An output was overwritten by the last layer, which reads it and may write over what nothing reads later."""
    graph = read(case).graph
    codes = random_input(np.random.default_rng(0), graph, 2)
    engine = FirmwareEngine(graph, CORTEX_M4, optimise="speed")
    assert np.array_equal(engine.output_codes(codes), run(graph, codes))
    assert engine.measure(codes).instructions  # compares the image without observers, whose inputs lie in the arena


@pytest.mark.parametrize("ends", ["float32", "uint8"])
@pytest.mark.parametrize("case", ["output_read_inside", "three_of_each", "output_twice"])
def test_conversions_at_every_end_are_removed(case: str, ends: str) -> None:
    graph, plain = read(case, ends).graph, read(case).graph
    codes = random_input(np.random.default_rng(0), plain, 2)
    assert [graph.tensors[name].shape for name in graph.inputs] == [plain.tensors[name].shape for name in plain.inputs]
    assert np.array_equal(run(graph, codes), run(plain, codes))


def test_the_file_keeps_its_names_and_their_order() -> None:
    graph = read("three_of_each").graph
    assert graph.inputs == tuple(f"serving_default_input{n}:0" for n in ("", "_1", "_2"))
    codes = random_input(np.random.default_rng(0), graph, 2)
    trace: dict[str, np.ndarray] = {}
    output = run(graph, codes, trace=trace)
    assert np.array_equal(joined(graph, graph.inputs, trace), codes)
    shapes = {name: part.shape for name, part in parted(graph, graph.outputs, output).items()}
    assert [shapes[name] for name in graph.outputs] == [(2, 6, 6, 3), (2, 6, 6, 3), (2, 3, 3, 3)]


def test_an_input_that_is_listed_twice_is_refused() -> None:
    net = Net(np.random.default_rng(4), (6, 6, 3))
    net.other_inputs.append(net.input)
    with pytest.raises(ExportError, match=r"tensor 0 'serving_default_input:0': is an input twice"):
        from_tflite(net.finish(net.conv(net.input, 4)))


def test_a_constant_output_is_refused() -> None:
    net = Net(np.random.default_rng(4), (6, 6, 3))
    constant = Edge(net.constant(np.ones((1, 4), np.int8), 0.1), (1, 4), 0.1, 0)
    with pytest.raises(
        ExportError, match=r"^m\.tflite, tensor 1 '.*constant_1': limit: a constant output; expected an activation"
    ):
        from_tflite(net.finish(net.conv(net.input, 4), constant), where="m.tflite")


def test_what_takes_one_input_or_output_names_them() -> None:
    graph: Graph = read("three_of_each").graph
    with pytest.raises(
        RuntimeFailure, match=r"has several inputs, .*expected 1; got 3: serving_default_input:0, .*next"
    ):
        _ = graph.input
    with pytest.raises(RuntimeFailure, match=r"has several outputs, where this takes a network with one"):
        _ = graph.output


def test_vectors_of_another_size_are_refused_with_the_inputs_names() -> None:
    graph = read("inputs_of_two_shapes").graph
    with pytest.raises(RuntimeFailure, match=r"int8 \(batch, 120\), the codes of 'serving.*side by side"):
        run(graph, np.zeros((2, 119), np.int8))
