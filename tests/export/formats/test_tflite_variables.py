"""Variables of TFLite files: states of the graph, equal to what LiteRT and TFLite Micro keep between runs; refusals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.export.formats.test_tflite_movement import options
from tests.export.formats.tflite_models import OPS, TYPES, Edge
from tests.export.formats.tflite_streaming import StreamingNet, wake_word
from tests.graphs import random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.engines import LiteRTEngine, TFLMEngine
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.states import in_turn, results_of, with_states

RUNS = 12
Made = tuple[StreamingNet, Edge]


def shift_register(rng: np.random.Generator) -> Made:
    """A variable takes what another one had; the second is read again behind its assignment."""
    net = StreamingNet(rng, (2, 1, 4))
    for name in ("a", "b"):
        net.begins(name, rng.integers(-128, 128, (1, 2, 1, 4)).astype(np.int8), net.input)
    a, b = net.handle("a"), net.handle("b")
    first = net.read(a, net.input.shape, net.input)
    second = net.read(b, net.input.shape, net.input)
    net.assign(a, net.input)
    net.assign(b, first)
    third = net.read(net.handle("b"), net.input.shape, net.input)
    return net, net.conv(net.concat([first, second, third], 1), 3, (2, 1), activation="NONE")


def unassigned(rng: np.random.Generator) -> Made:
    """A variable that runs only read, one that nothing reads, and one that is assigned twice."""
    net = StreamingNet(rng, (2, 1, 4))
    for name in ("constant", "unread", "twice"):
        net.begins(name, rng.integers(-128, 128, (1, 2, 1, 4)).astype(np.int8), net.input)
    x = net.pair("ADD", net.input, net.read(net.handle("constant"), net.input.shape, net.input), "NONE")
    net.assign(net.handle("unread"), net.input)
    twice = net.handle("twice")
    y = net.concat([net.read(twice, net.input.shape, net.input), net.input], 1)
    net.assign(twice, net.last_rows(y, 2))
    net.assign(twice, net.pool(net.input, "MAX", (1, 1), (1, 1)))
    return net, net.pair("MUL", x, net.conv(y, 4, (3, 1), padding="VALID"), "NONE")


NETS = {made.__name__: made for made in (wake_word, shift_register, unassigned)}


def _streamed(graph: Graph, given: np.ndarray, rounding: Rounding) -> np.ndarray:
    return results_of(graph, in_turn(graph, given, lambda codes: run(graph, codes, rounding=rounding))[1])


def _on_tflm(data: bytes, given: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=200_000)
    rows = []
    for row in given:
        interpreter.set_input(row[None], 0)
        interpreter.invoke()
        rows.append(interpreter.get_output(0).copy())
    return np.concatenate(rows)


def _on_litert(data: bytes, given: np.ndarray, rounding: Rounding) -> np.ndarray:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    resolver = litert.OpResolverType.BUILTIN_REF if rounding == "double" else litert.OpResolverType.AUTO
    interpreter = litert.Interpreter(model_content=data, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    rows = []
    for row in given:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(rows)


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("made", NETS.values(), ids=NETS)
def test_states_are_what_engines_keep_in_the_variables_of_the_file(made: Callable[..., Made]) -> None:
    net, out = made(np.random.default_rng(3))
    data = net.streaming_file(out)
    graph = from_tflite(data)
    given = np.random.default_rng(4).integers(-128, 128, (RUNS, *net.input.shape[1:])).astype(np.int8)
    answers = _streamed(graph, given, "double")
    np.testing.assert_array_equal(_on_tflm(data, given).reshape(answers.shape), answers)
    if made is not wake_word:  # whose LOGISTIC has a named exception on LiteRT
        np.testing.assert_array_equal(_on_litert(data, given, "double").reshape(answers.shape), answers)
        single = _streamed(graph, given, "single")
        np.testing.assert_array_equal(_on_litert(data, given, "single").reshape(single.shape), single)


@pytest.mark.needs_module("tflite_micro")
def test_engines_get_the_states_as_inputs_and_outputs() -> None:
    net, out = wake_word(np.random.default_rng(3))
    model = tflite_model(net.streaming_file(out), "net.tflite")
    graph, data = model.graph, model.file("model.tflite")
    assert [len(state.initial) for state in graph.states] == [2 * 10, 7 * 12, 3 * 9]
    assert "3 states of 131 B" in model.notes()[-1]
    codes = random_input(np.random.default_rng(0), graph, 6)
    expected = run(graph, codes)
    for engine in (TFLMEngine(graph, data), LiteRTEngine(graph, data, "reference")):
        np.testing.assert_array_equal(engine.output_codes(codes)[:, 1:], expected[:, 1:])  # but for the LOGISTIC
    rows = with_states(graph, codes[:, : 3 * 10].reshape(6, 3, 1, 10))
    np.testing.assert_array_equal(TFLMEngine(graph, data).output_codes(rows), run(graph, rows))


def test_variables_without_a_form_are_refused_by_what_they_are() -> None:
    def net_with(change: Callable[[StreamingNet], None]) -> bytes:
        net = StreamingNet(np.random.default_rng(3), (2, 1, 4))
        change(net)
        return net.streaming_file(net.conv(net.input, 3))

    def codes(*shape: int, dtype: type = np.int8) -> np.ndarray:
        return np.zeros(shape, dtype)

    def no_first_value(net: StreamingNet) -> None:
        net.operator(OPS.ASSIGN_VARIABLE, [], -1)  # its code is in the file
        net.operators.pop()
        net.read(net.handle("v"), net.input.shape, net.input)

    def other_shape(net: StreamingNet) -> None:
        net.begins("v", codes(1, 3, 1, 4), net.input)
        handle = net.handle("v")
        net.assign(handle, net.read(handle, net.input.shape, net.input))

    def other_scale(net: StreamingNet) -> None:
        net.begins("v", codes(1, 2, 1, 4), net.input)
        handle = net.handle("v")
        read = net.edge("read", net.input.shape, 0.7, 3)
        net.apply(OPS.READ_VARIABLE, [handle], read, options("ReadVariable"))
        net.assign(handle, net.input)

    def reals(net: StreamingNet) -> None:
        net.begins("v", codes(1, 2, 1, 4, dtype=np.float32), net.input)
        handle = net.handle("v")
        read = net.edge("read", net.input.shape, 0.7, 3)
        net.tensors[read.index].type = TYPES.FLOAT32
        net.apply(OPS.READ_VARIABLE, [handle], read, options("ReadVariable"))
        net.assign(handle, read)

    def no_handle(net: StreamingNet) -> None:
        net.handle("v")
        net.assign(net.input.index, net.input)

    for change, message in (
        (no_first_value, r"operator 2 \(READ_VARIABLE\): limit: a variable without a first value; got 'v'"),
        (other_shape, "first value of the variable; expected int8"),
        (other_scale, "another type, shape or scale than the variable"),
        (reals, "float32"),
        (no_handle, r"operator 2 \(ASSIGN_VARIABLE\): its variable has no handle"),
    ):
        with pytest.raises(ExportError, match=message):
            from_tflite(net_with(change))


def test_what_runs_once_only_assigns_constants() -> None:
    net, out = wake_word(np.random.default_rng(3))
    with pytest.raises(ExportError, match="several graphs"):
        from_tflite(net.streaming_file(out, graphs=3))
    net.operators.append(net.operators.pop(0))  # CALL_ONCE behind the first read
    with pytest.raises(ExportError, match="without a first value; got 'first/states'"):
        from_tflite(net.streaming_file(out))
    net, out = wake_word(np.random.default_rng(3))
    net.assign(net.handle("first/states"), net.input)
    net.operators = [*net.operators[-2:], *net.operators[:-2]]
    with pytest.raises(ExportError, match="assigned before its first value"):
        from_tflite(net.streaming_file(out))


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_are_refused_or_read(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net, out = wake_word(np.random.default_rng(3))
    data = bytearray(net.streaming_file(out))
    for _ in range(int(rng.integers(1, 4))):
        data[int(rng.integers(8, len(data)))] = int(rng.integers(256))
    try:
        graph = from_tflite(bytes(data))
    except ExportError:
        return
    codes = with_states(
        graph,
        random_input(rng, graph)[:, : np.prod(graph.tensors[graph.given[0]].shape)].reshape(
            1, *graph.tensors[graph.given[0]].shape[1:]
        ),
    )
    assert run(graph, codes).dtype == np.int8
