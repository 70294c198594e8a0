"""LSTMs in TFLite files made elsewhere: read as one op, run without a state from before, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.export.formats.test_tflite_movement import options, read
from tests.export.formats.tflite_models import ACTIVATIONS, OPS, TYPES, Edge, Net
from tests.graphs import one_op, random_input
from tinyscene.export.check.count_tflite import tflite_layers
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.runtime import ops
from tinyscene.runtime.cost import count, graph_cost
from tinyscene.runtime.engines import Engine, LiteRTEngine, TFLMEngine
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite

pytestmark = pytest.mark.needs_module("tflite_micro")
STEPS, INPUTS, UNITS = 7, 5, 4
HIDDEN = (0.007, -9)
Change = Callable[[Net], None]


def net_of_steps(*, time_major: bool = False) -> tuple[Net, Edge]:
    """A net whose input is a sequence; with ``time_major`` a reshape puts the steps first."""
    net = Net(np.random.default_rng(2), (STEPS, INPUTS))
    if not time_major:
        return net, net.input
    shape = (STEPS, 1, INPUTS)
    return net, net.view("RESHAPE", net.input, shape, list(shape), options=options("Reshape"))


def lstm(net: Net, x: Edge, **changed: Any) -> Edge:
    """As TensorFlow's converter writes a layer of Keras; ``changed`` replaces options."""
    rng, gates = net.rng, range(4)
    sizes = [(x.shape[2], 0.004) for _ in gates] + [(UNITS, 0.006) for _ in gates]
    weights = [net.constant(rng.integers(-127, 128, (UNITS, n)).astype(np.int8), scale) for n, scale in sizes]
    bias_scale = np.float32(x.scale * 0.004)
    biases = [net.constant(rng.integers(-4000, 4000, UNITS).astype(np.int32), bias_scale) for _ in gates]
    states = [
        net.tensor("hidden", (1, UNITS), TYPES.INT8, *HIDDEN),
        net.tensor("cell", (1, UNITS), TYPES.INT16, 2.0**-11),
    ]
    for state in states:
        net.tensors[state].isVariable = True
    inputs = [x.index, *weights, -1, -1, -1, *biases, -1, -1, *states, -1, -1, -1, -1]
    values = {"fusedActivationFunction": ACTIVATIONS.TANH, "cellClip": 10.0, "projClip": 0.0}
    made = options("UnidirectionalSequenceLSTM", **{**values, **changed})
    out = net.edge("states", (*x.shape[:2], UNITS), *HIDDEN)
    net.apply(OPS.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, out, made)
    within = [net.tensor(f"gate_{i}", (0,), TYPES.INT16, 2.0**-12) for i in range(4)]
    net.operators[-1].intermediates = [*within, net.tensor("within", (0,), TYPES.INT8, *HIDDEN)]
    return out


def engines(model: FileModel) -> list[Engine]:
    data = model.file("m.tflite")
    graph = model.graph
    return [LiteRTEngine(graph, data), LiteRTEngine(graph, data, "reference"), TFLMEngine(graph, data)]


@pytest.mark.parametrize("time_major", [False, True], ids=["batch first", "steps first"])
def test_engines_compute_the_graph_s_bytes_from_a_state_of_zero_each_time(time_major: bool) -> None:
    net, x = net_of_steps(time_major=time_major)
    model = read(net, lstm(net, x, timeMajor=time_major))
    (node,) = (node for node in model.graph.nodes if isinstance(node.op, ops.Lstm))
    assert node.op == ops.Lstm(11, 20480)
    codes = random_input(np.random.default_rng(0), model.graph, 4)
    for engine in engines(model):  # LiteRT's reference kernel is its default one
        rounding = "double" if engine.name == "tflm" else "single"
        expected = run(model.graph, codes, rounding=rounding)  # type: ignore[arg-type]
        assert np.array_equal(engine.output_codes(codes), expected), engine.name
        assert np.array_equal(engine.output_codes(codes[::-1]), expected[::-1]), engine.name


def test_two_layers_and_the_last_step() -> None:
    net, x = net_of_steps()
    second = lstm(net, lstm(net, x))
    ends = ([0, -1, 0], [0, 0, 0], [1, 1, 1])
    made = options("StridedSlice", beginMask=5, endMask=7, ellipsisMask=0, newAxisMask=0, shrinkAxisMask=2)
    model = read(net, net.view("STRIDED_SLICE", second, (1, UNITS), *ends, options=made))
    codes = random_input(np.random.default_rng(0), model.graph, 4)
    micro = engines(model)[2]
    assert np.array_equal(micro.output_codes(codes), run(model.graph, codes))


def test_every_gate_s_products_are_counted_for_each_step(tmp_path: Any) -> None:
    net, x = net_of_steps()
    out = lstm(net, x)
    costs = {
        rule: count(tflite_layers(net.finish(out), tmp_path), rule, source="") for rule in ("dcase", "nessi", "stored")
    }
    weights = 4 * (INPUTS + UNITS) * UNITS
    assert costs["nessi"].macs == costs["stored"].macs == weights * STEPS
    assert costs["dcase"].macs == (weights + 4 * UNITS) * STEPS
    assert costs["dcase"].n_bytes == weights + 16 * UNITS
    graph = read(net, out).graph
    for rule, cost in costs.items():
        of_graph = graph_cost(graph, rule)  # type: ignore[arg-type]
        assert (of_graph.macs, of_graph.parameters) == (cost.macs, cost.parameters)


def _input(net: Net, at: int, value: int) -> None:
    net.operators[-1].inputs[at] = value


def _scale(net: Net, at: int, scale: float) -> None:
    net.tensors[net.operators[-1].inputs[at]].quantization.scale = np.array([scale], np.float32)


def _stored(net: Net, at: int) -> None:
    net.tensors[net.operators[-1].inputs[at]].isVariable = False


def _of_two(net: Net) -> None:
    """A sum that reads the state."""
    out = net.edge("sum", (1, UNITS), *HIDDEN)
    state = net.operators[-1].inputs[18]
    net.apply(OPS.ADD, [state, state], out, options("Add", fusedActivationFunction=0))
    net.operators.insert(-1, net.operators.pop())


FAULTS: dict[str, tuple[Change, str]] = {
    "peephole": (lambda net: _input(net, 9, 1), "an LSTM with peepholes; expected one without"),
    "projection": (lambda net: _input(net, 16, 1), "an LSTM with a projection"),
    "normalised": (lambda net: _input(net, 20, 1), "an LSTM with layer normalisation"),
    "coupled": (lambda net: _input(net, 1, -1), "an LSTM with coupled input and forget gate"),
    "no bias": (lambda net: _input(net, 12, -1), r"inputs are missing; .* got \[12\]"),
    "few inputs": (lambda net: net.operators[-1].inputs.pop(), r"inputs and outputs; expected 24 and 1; got \(23, 1\)"),
    "cell scale": (lambda net: _scale(net, 19, 0.001), "scale and zero point of the cell state; expected .*2\\^-9"),
    "cell bits": (lambda net: _scale(net, 19, 2.0**-8), "scale and zero point of the cell state"),
    "hidden scale": (
        lambda net: _scale(net, 18, 0.1),
        "engines disagree where hidden state and output differ in scale",
    ),
    "within": (lambda net: net.operators[-1].intermediates.pop(), "intermediates; expected 5; got 4"),
    "no such": (lambda net: net.operators[-1].intermediates.append(900), "operator 0, intermediates: .*does not exist"),
    "swapped": (lambda net: _input(net, 1, net.operators[-1].inputs[5]), r"tensor \d+; expected a constant int8"),
    "no state": (lambda net: _stored(net, 18), "reads tensor .* which no operator before it writes"),
    "shared state": (_of_two, "limit: a state that an operator keeps by itself, but for those of one LSTM"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_other_forms_are_refused_by_name(fault: str) -> None:
    change, message = FAULTS[fault]
    net, x = net_of_steps()
    out = lstm(net, x)
    change(net)
    with pytest.raises(ExportError, match=message):
        read(net, out)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fusedActivationFunction": ACTIVATIONS.RELU}, "activation of the cell; expected TANH; got 1"),
        ({"projClip": 1.0}, "clipped projection or diagonal weights"),
        ({"diagonalRecurrentTensors": True}, "clipped projection or diagonal weights"),
        ({"cellClip": 1e-9}, "clip of the cell state; expected 0, or 0.000488281 and more"),
    ],
)
def test_other_options_are_refused_by_name(changed: dict[str, Any], message: str) -> None:
    net, x = net_of_steps()
    with pytest.raises(ExportError, match=message):
        read(net, lstm(net, x, **changed))


def test_onnx_is_refused_by_name_and_other_engines_run() -> None:
    graph = one_op(np.random.default_rng(0), "lstm")
    assert to_tflite(graph)
    with pytest.raises(ExportError, match="'lstm_1': ONNX has an LSTM of real numbers only") as refusal:
        to_onnx(graph)
    assert refusal.value.unsupported
