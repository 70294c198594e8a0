"""Lowering: the integer graph is the fake-quantised network, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.errors import ExportError
from export.fold import GrnStep, fold
from export.lower import lower
from export.ptq import calibrate
from export.quantnet import QuantConv, QuantGRN, QuantNet
from runtime.arith import dequantise, quantise
from runtime.graph import Graph
from runtime.interpreter import run
from tests.export.tiny import SHAPE, inputs, tiny_net

LABELS = tuple("abcde")


def _calibrated(*, grn: bool = True, padding: str = "same", weights: bool = True) -> QuantNet:
    net = QuantNet(fold(tiny_net(grn=grn, padding=padding), SHAPE))
    calibrate(net, [inputs(24)], weights=weights)
    return net


def _codes(x: torch.Tensor, graph: Graph, name: str) -> np.ndarray:
    nhwc = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
    return quantise(nhwc.detach().numpy(), graph.tensors[name].quant)


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize(("grn", "padding"), [(True, "same"), (True, "torch"), (False, "same"), (False, "torch")])
@torch.no_grad()
def test_every_layer_equals_the_fake_quantised_one(grn: bool, padding: str, weights: bool) -> None:
    """Each layer gets the graph's own inputs and its rule of one rounding: halves may move a code by one, no more."""
    net = _calibrated(grn=grn, padding=padding, weights=weights)
    graph = lower(net, name="tiny", labels=LABELS)
    trace: dict[str, np.ndarray] = {}
    run(graph, _codes(inputs(4, seed=3), graph, graph.input), rounding="single", trace=trace)
    real = {n: torch.from_numpy(dequantise(codes, graph.tensors[n].quant)) for n, codes in trace.items()}
    real = {n: x.permute(0, 3, 1, 2) if x.dim() == 4 else x for n, x in real.items()}
    for step in net.folded.steps:
        name = graph.output if step.name == net.folded.output_name else step.name
        layer = net.layer_of(step)
        got = net.range_of(step.name)(layer(*(real[n] for n in step.inputs)))
        difference = np.abs(_codes(got, graph, name).astype(int) - trace[name])
        most = 3 if isinstance(layer, QuantGRN) else 1  # a code of the statistics moves many of the output
        assert difference.max() <= most, step.name
        assert (difference == 0).mean() > (0.6 if isinstance(layer, QuantGRN) else 0.95), step.name


def test_weights_in_the_graph_are_those_of_the_network() -> None:
    net = _calibrated()
    graph = lower(net, name="tiny", labels=LABELS)
    for step in net.folded.steps:
        layer = net.layer_of(step)
        if isinstance(layer, QuantConv):
            tensor = graph.tensors[f"{step.name}.weight"]
            assert tensor.data is not None
            scale = np.asarray(tensor.quant.scale, np.float32)
            real = tensor.data * (scale if step.depthwise else scale[:, None, None, None])
            wanted = layer.folded()[0].detach().numpy()
            wanted = wanted.transpose(1, 2, 3, 0) if step.depthwise else wanted.transpose(0, 2, 3, 1)
            assert np.allclose(real, wanted, atol=1e-6)


def test_beta_is_added_without_a_second_rounding() -> None:
    """The last op of GRN moves the codes of a channel by a constant, no more."""
    net = _calibrated()
    graph = lower(net, name="tiny", labels=LABELS)
    trace: dict[str, np.ndarray] = {}
    run(graph, _codes(inputs(4, seed=3), graph, graph.input), trace=trace)
    for step in net.folded.steps:
        if isinstance(step, GrnStep):
            before, after = trace[f"{step.name}.scaled"].astype(int), trace[step.name].astype(int)
            moved = np.where((after > -128) & (after < 127), after - before, 0)
            for channel in range(moved.shape[-1]):
                assert len(set(np.unique(moved[..., channel])) - {0}) <= 1


def test_uncalibrated_network_is_refused() -> None:
    with pytest.raises(ExportError, match="has no range"):
        lower(QuantNet(fold(tiny_net(), SHAPE)), name="tiny", labels=LABELS)


def test_weights_that_are_not_finite_are_refused() -> None:
    net = _calibrated(weights=False)
    next(m for m in net.modules() if isinstance(m, QuantConv)).conv.weight.data[0] = float("nan")
    with pytest.raises(ExportError, match="not finite"):
        lower(net, name="tiny", labels=LABELS)
