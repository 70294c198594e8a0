"""LSTM layers of PyTorch: what is refused by name, and the scales of the integer op where the states are extreme."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tinyscene.export.errors import ExportError
from tinyscene.export.quantise.fake_quant import QuantNet
from tinyscene.export.quantise.float_steps import Folded, LstmStep
from tinyscene.export.quantise.fold import fold
from tinyscene.export.quantise.layer_calibration import LayerCalibration, calibrate_layers, set_input_ranges
from tinyscene.export.quantise.lower import lower
from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise, quantise
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.lstm_ranges import LOWEST_SCALE

STEPS, INPUTS, UNITS = 12, 5, 3


class _Layer(nn.Module):
    """What an LSTM is given, and which of its results is read."""

    def __init__(
        self, *, result: str = "outputs", state: float = 0.0, turned: bool = False, projected: int = 0
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(INPUTS, UNITS, batch_first=not turned, proj_size=projected)
        self.result, self.state = result, state

    def forward(self, x: Tensor) -> Tensor:
        if not self.state:
            outputs, (_, cell) = self.lstm(x)
        else:
            start = torch.full((1, x.shape[0], UNITS), self.state)
            outputs, (_, cell) = self.lstm(x, (start, start))
        return cell[0] if self.result == "cell" else outputs.flatten(1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"state": 0.5}, "an initial state other than zeros"),
        ({"projected": 2}, "projections"),
        ({"result": "cell"}, "the last cell state of an LSTM is read"),
        ({"turned": True}, "'batch_first' does not fit"),
    ],
)
def test_what_the_op_does_not_have_is_refused_by_name(given: dict[str, object], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        fold(_Layer(**given), {"x": (4, INPUTS)})  # type: ignore[arg-type]


def _calibrated(step: LstmStep, clips: Tensor) -> QuantNet:
    shapes = {"x": (1, STEPS, INPUTS), step.name: (1, STEPS, UNITS)}
    net = QuantNet(Folded((step,), ("x",), (step.name,), shapes))
    net.round(False)
    set_input_ranges(net, [clips], None)
    calibrate_layers(net, [clips], LayerCalibration())
    return net


def _step(bias: float, gate: str, *, weights: float = 1.0) -> LstmStep:
    """A layer of random weights with one bias in the units of a gate."""
    torch.manual_seed(0)
    biases = torch.zeros(len(ops.GATES), UNITS)
    biases[ops.GATES.index(gate)] = bias
    matrices = [weights * torch.randn(len(ops.GATES) * UNITS, n) for n in (INPUTS, UNITS)]
    return LstmStep("y", ("x",), matrices[0], matrices[1], biases.flatten())


@pytest.mark.parametrize(
    ("step", "bits"),
    [
        (_step(0.0, "input"), range(12, 15)),
        (_step(6.0, "forget", weights=0.8), range(10, 13)),  # nothing is forgotten: the cell state grows
        (_step(-4.0, "input", weights=0.1), range(15, 16)),
    ],
)
@torch.no_grad()
def test_the_cell_state_has_the_bits_that_its_range_leaves(step: LstmStep, bits: range) -> None:
    clips = torch.randn(64, STEPS, INPUTS) + 0.5
    net = _calibrated(step, clips)
    graph = lower(net, name="lstm", labels=())
    (op,) = (node.op for node in graph.nodes)
    assert isinstance(op, ops.Lstm)
    assert op.cell_bits in bits
    codes = quantise(clips.numpy(), graph.tensors["x"].quant)
    got = dequantise(NumpyEngine(graph, "double").output_codes(codes), graph.tensors[graph.output].quant)
    rounded = net(clips).numpy()  # the fake-quantised network, which rounds neither gates nor cell state
    net.round(False)
    exact = net(clips).numpy()
    largest = np.abs(exact).max()
    assert np.abs(got - rounded).mean() < 0.01 * largest
    assert np.abs(got - exact).mean() < 0.03 * largest


def test_an_output_of_nearly_zero_keeps_a_scale_that_engines_take() -> None:
    net = _calibrated(_step(-20.0, "output"), torch.randn(8, STEPS, INPUTS))
    graph = lower(net, name="lstm", labels=())
    assert graph.tensors[graph.output].quant.scale == (LOWEST_SCALE,)


def test_a_layer_without_calibration_is_not_lowered() -> None:
    net = _calibrated(_step(0.0, "input"), torch.randn(8, STEPS, INPUTS))
    net.layer_of(net.folded.steps[0]).limit.fill_(torch.inf)  # type: ignore[operator,union-attr]
    with pytest.raises(ExportError, match="cell state has no range"):
        lower(net, name="lstm", labels=())
