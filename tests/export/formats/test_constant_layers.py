"""Dead channels and constant layers of foreign files: the engines on the original file against our graph."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from tests.export.formats.tflite_models import Edge, Net
from tests.graphs import random_input, small_net
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.verify.verify import verify
from tinyscene.runtime.constant_layers import constant_layers, drop_constant_layers
from tinyscene.runtime.engines import LiteRTEngine, TFLMEngine
from tinyscene.runtime.interpreter import run


def weight_of(net: Net, operator: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales of the weight of an operator, to be changed."""
    tensor = net.tensors[net.operators[operator].inputs[1]]
    codes = np.frombuffer(net.buffers[tensor.buffer].data.tobytes(), np.int8).reshape(tensor.shape).copy()
    net.buffers[tensor.buffer].data = codes.view(np.uint8).reshape(-1)
    return codes, tensor.quantization.scale


def dead_channel(scale: float, *, zeros: bool) -> tuple[Net, Edge]:
    """A convolution whose second output channel has this scale, and weights that are zero or not."""
    net = Net(np.random.default_rng(1), (6, 6, 4))
    out = net.conv(net.input, 4, (3, 3), padding="SAME")
    codes, scales = weight_of(net, 0)
    scales[1] = scale
    if zeros:
        codes[1] = 0
    net.buffers[net.tensors[net.operators[0].inputs[1]].buffer].data = codes.view(np.uint8).reshape(-1)
    return net, out


def dead_branch(scale: float) -> tuple[Net, Edge]:
    """x + conv(x), where the convolution has zeros only and its output a scale without meaning."""
    net = Net(np.random.default_rng(2), (6, 6, 4))
    branch = net.conv(net.input, 4, (3, 3), padding="SAME")
    codes, scales = weight_of(net, 0)
    net.buffers[net.tensors[net.operators[0].inputs[1]].buffer].data = np.zeros(codes.size, np.uint8)
    bias = net.tensors[net.operators[0].inputs[2]]
    net.buffers[bias.buffer].data = np.zeros(16, np.uint8)
    scales[:] = scale / 2
    net.tensors[branch.index].quantization.scale[:] = scale
    branch = Edge(branch.index, branch.shape, float(np.float32(scale)), branch.zero_point)
    return net, net.pair("ADD", net.input, branch)


def require_equal(data: bytes, layers: int) -> None:
    """The original file, what engines get of it, and the files of its graph, all in this process."""
    model = tflite_model(data, "m.tflite")
    assert len(model.reduced.layers) == layers
    codes = model.golden(4).inputs
    double, single = (run(model.graph, codes, rounding=rounding) for rounding in ("double", "single"))
    own = model.file("m.tflite")
    assert np.array_equal(LiteRTEngine(model.graph, own).output_codes(codes), single)
    for file in (data, own):
        assert np.array_equal(LiteRTEngine(model.graph, file, "reference").output_codes(codes), double)
        assert np.array_equal(TFLMEngine(model.graph, file).output_codes(codes), double)
    results = verify(model.graph, codes, targets=("litert", "litert-reference", "tflm", "ort")).results
    assert {r.target: r.remarks() for r in results if not r.passed} == {}


@pytest.mark.needs_module("tflite_micro", "onnxruntime")
@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("scale", [0.0, 1e-38, 1e-30, 1e-12, 7.8e-9])
def test_a_channel_with_a_scale_without_meaning_is_the_constant_it_is(scale, zeros):
    net, out = dead_channel(scale, zeros=zeros)
    require_equal(net.finish(out), 0)


@pytest.mark.needs_module("tflite_micro", "onnxruntime")
@pytest.mark.parametrize("scale", [1e-12, 7.8e-9, 2e-6])
def test_a_dead_branch_is_left_out_and_reported(scale):
    net, out = dead_branch(scale)
    require_equal(net.finish(out), 1)


def dead_relu(scale: float) -> tuple[Net, Edge]:
    """Three convolutions, of which the second has an output scale without meaning and far too low a bias for its ReLU;
    in units of this scale the third one's bias is beyond int32, where converters store its end."""
    net = Net(np.random.default_rng(3), (6, 6, 4))
    x = net.conv(net.input, 4, (3, 3))
    dead = net.conv(x, 4, (3, 3))
    net.tensors[dead.index].quantization.scale[:] = scale
    dead = Edge(dead.index, dead.shape, float(np.float32(scale)), dead.zero_point)
    net.buffers[net.tensors[net.operators[1].inputs[2]].buffer].data = np.full(4, -10_000_000, np.int32).view(np.uint8)
    with np.errstate(invalid="ignore"):
        out = net.conv(dead, 3, activation="NONE")
    ends = np.array([-(2**31), 2**31 - 1, 139_498_189], np.int32)
    net.buffers[net.tensors[net.operators[2].inputs[2]].buffer].data = ends.view(np.uint8)
    return net, out


@pytest.mark.needs_module("tflite_micro", "onnxruntime")
@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("scale", [3.9e-9, pytest.param(1e-12, marks=pytest.mark.slow)])
def test_a_layer_behind_a_scale_without_meaning_wraps_around_as_in_the_engines_that_run_it(scale):
    net, out = dead_relu(scale)
    model = tflite_model(net.finish(out), "m.tflite")
    targets = ("litert", "litert-reference", "tflm", "ort", "c-host")
    codes = model.golden(4).inputs
    results = {r.target: r for r in verify(model.graph, codes, targets=targets).results}
    assert results.pop("litert").status == "refused"
    assert {name: r.status for name, r in results.items()} == dict.fromkeys(results, "equal")
    assert (len(np.unique(run(model.graph, codes)[..., 0])) == 2) == (scale == 3.9e-9)


@pytest.mark.needs_module("tflite_micro", "onnxruntime")
def test_a_file_without_operators_copies_its_input():
    net = Net(np.random.default_rng(3), (4, 3, 2))
    model = tflite_model(net.finish(net.input), "copy.tflite")
    codes = model.golden(2).inputs
    assert np.array_equal(run(model.graph, codes), codes)
    results = verify(model.graph, codes, targets=("litert", "tflm", "ort"), shipped=model).results
    assert [r.status for r in results] == ["equal"] * 3


def test_a_layer_is_constant_for_every_input_or_is_kept():
    graph = small_net(np.random.default_rng(0), grn=True)
    assert drop_constant_layers(graph) == (graph, ())
    codes = random_input(np.random.default_rng(1), graph, 3)
    for rounding in ("double", "single"):
        trace: dict = {}
        run(graph, codes, rounding=rounding, trace=trace)
        for name, constant in constant_layers(graph).items():
            assert (trace[name] == constant).all()
