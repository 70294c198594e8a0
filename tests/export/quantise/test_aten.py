"""Networks of the operators of PyTorch: the steps compute the network's function, and the graph runs everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.differential.__main__ import ENGINES, Case, Row, on_firmware
from tests.differential.batch import VECTORS
from tests.export.quantise.modules import CASES, RECURRENT, with_statistics
from tests.export.tiny import FREE, SHAPE, SHAPES, inputs
from tests.graphs import random_input
from tinyscene.export.formats.onnx_read import from_onnx
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.quantise.aten.values import transposition
from tinyscene.export.quantise.fake_quant import QuantNet
from tinyscene.export.quantise.fold import fold
from tinyscene.export.quantise.layer_calibration import LayerCalibration, calibrate_layers, set_input_ranges
from tinyscene.export.quantise.lower import lower
from tinyscene.export.quantise.quantised_model import int8_outputs
from tinyscene.export.quantise.steps import POST_TRAINING, Work, run_steps
from tinyscene.export.targets.table import TARGETS, Exposed, TargetRow
from tinyscene.export.verify.op_comparison import compare
from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.runtime.arith import ROUNDINGS, dequantise, quantise
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import LOG_MEL, Graph

LABELS = tuple("abcde")


def case_of(graph: Graph) -> Case:
    codes = random_input(np.random.default_rng(0), graph, VECTORS)
    return Case(graph, codes, {rounding: NumpyEngine(graph, rounding).outputs(codes) for rounding in ROUNDINGS})


def assert_engines_agree(case: Case, names: tuple[str, ...] = ENGINES) -> None:
    """Every engine gives the interpreter's codes, or differs by a named exception."""
    for name in names:
        target = TARGETS[name]
        assert isinstance(target, TargetRow)
        engine = target.open(Exposed(case.graph))
        result = compare(name, engine.rounding, case.graph, case.codes, engine.outputs(case.codes))
        assert result.first_difference is None, (name, str(result.first_difference))


@pytest.fixture(scope="module")
def quantised() -> dict[str, tuple[nn.Module, Graph]]:
    networks = {}
    for name, build in CASES.items():
        torch.manual_seed(1)
        model = with_statistics(build(), SHAPE)
        graph = run_steps(POST_TRAINING, Work(model, {LOG_MEL: inputs(48)}, None, name, LABELS)).graph
        assert graph is not None
        networks[name] = (model, graph)
    return networks


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_steps_compute_what_the_network_computes(name: str) -> None:
    torch.manual_seed(2)
    model = with_statistics(CASES[name](), SHAPE)
    net = QuantNet(fold(model, SHAPES))
    net.round(False)
    x = inputs(3)
    assert torch.allclose(net(x), model(x), atol=1e-5)


@pytest.mark.needs_module("ai_edge_litert", "onnxruntime", "tflite_micro")
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_graph_approximates_the_network_and_runs_on_every_engine(
    name: str, quantised: dict[str, tuple[nn.Module, Graph]]
) -> None:
    model, graph = quantised[name]
    clips = inputs(8, seed=7)
    expected, got = model(clips).numpy(), int8_outputs(graph, clips[:, 0].numpy())
    assert np.abs(got - expected).mean() < 0.05 * np.abs(expected).max()
    case = case_of(graph)
    if name in RECURRENT:
        assert_engines_agree(case, tuple(engine for engine in ENGINES if not engine.startswith("ort")))
        return
    assert_engines_agree(case)
    read = NumpyEngine(from_onnx(to_onnx(graph)), "single").output_codes(case.codes)
    assert np.array_equal(read, case.expected["single"][graph.output])


@pytest.mark.needs_tool("gcc", "objcopy")
def test_the_graphs_in_c(quantised: dict[str, tuple[nn.Module, Graph]], tmp_path: Path) -> None:
    rows: dict[str, Row] = {}
    cases = [case_of(graph) for _, graph in quantised.values()]
    on_firmware(cases, replace(HOST, verify_flags=("-O1",)), rows, tmp_path)
    assert not any(row.findings for row in rows.values())
    assert all(row.equal == len(cases) for row in rows.values())


@pytest.mark.parametrize("name", ["windows", "elements", "flattened", "decoder", "encoder", "recurrent"])
def test_networks_train_with_rounding(name: str) -> None:
    """Gradients reach weights, ranges and constants; the trained network lowers."""
    torch.manual_seed(3)
    net = run_steps(FREE, Work(with_statistics(CASES[name](), SHAPE), {LOG_MEL: inputs(16)})).folded
    net.train()
    net.freeze(False)
    net(inputs(8, seed=4)).square().sum().backward()
    for parameter_name, p in net.named_parameters():
        if p.requires_grad and not parameter_name.endswith("conv.bias"):  # BatchNorm cancels biases
            assert p.grad is not None, parameter_name
            assert torch.isfinite(p.grad).all(), parameter_name
    assert lower(net, name="trained", labels=LABELS).output == "scores"


class _NormOfRows(nn.Module):
    """A BatchNorm of axis 1 behind a linear layer, whose features are the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(16, 32), nn.BatchNorm1d(32)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.linear(x[:, 0]))
        return y


class _InPlaceOfShared(nn.Module):
    """An activation that is modified in place after it was copied, and read again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return F.silu(y.clone(), inplace=True).mul_(2) + y


@pytest.mark.parametrize("build", [_NormOfRows, _InPlaceOfShared])
@torch.no_grad()
def test_axes_and_copies_are_told_apart(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(4)
    model = with_statistics(build(), SHAPE)
    net = QuantNet(fold(model, SHAPES))
    net.round(False)
    x = inputs(3)
    assert torch.allclose(net(x).reshape(model(x).shape), model(x), atol=1e-5)


INPUTS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "images of 3 channels": ((3, 12, 10), lambda: nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Flatten())),
    "sequences": ((4, 20), lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.Flatten())),
    "features": ((24,), lambda: nn.Sequential(nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 5))),
}


@pytest.mark.needs_module("ai_edge_litert", "onnxruntime", "tflite_micro")
@pytest.mark.parametrize("name", INPUTS)
@torch.no_grad()
def test_inputs_of_other_shapes(name: str) -> None:
    shape, build = INPUTS[name]
    torch.manual_seed(5)
    model, clips = build().eval(), torch.randn(32, *shape)
    net = QuantNet(fold(model, {"x": shape}))
    net.round(False)
    assert torch.allclose(net(clips), model(clips), atol=1e-5)
    set_input_ranges(net, [clips], None)
    calibrate_layers(net, [clips], LayerCalibration())
    graph = lower(net, name="other", labels=())
    stored = graph.tensors[graph.input].shape
    channels_last = clips.movedim(1, -1).reshape(len(clips), *stored[1:]).numpy()
    codes = quantise(channels_last, graph.tensors[graph.input].quant)
    output = graph.tensors[graph.output].quant
    got = dequantise(NumpyEngine(graph, "double").output_codes(codes), output)
    expected = model(clips).numpy()
    assert np.abs(got - expected).mean() < 0.05 * np.abs(expected).max()
    assert_engines_agree(case_of(graph))


@pytest.mark.parametrize("seed", range(20))
def test_every_transposition_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 5, rng.integers(1, 5))]
    order = [int(axis) for axis in rng.permutation(len(sizes))]
    flat = torch.arange(int(np.prod(sizes))).reshape(sizes).permute(order).flatten()
    found = transposition(flat)
    assert found is not None
    shape, axes = found
    assert torch.equal(torch.arange(flat.numel()).reshape(shape).permute(axes).flatten(), flat)


def test_other_reorderings_are_not_transpositions() -> None:
    assert transposition(torch.tensor([1, 0, 2, 3])) is None
    assert transposition(torch.tensor([3, 2, 1, 0])) is None
