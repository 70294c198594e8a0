"""Lowering: the integer graph is the fake-quantised network, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.export.tiny import FREE, ROUNDED, SHAPES, calibrated, inputs, tiny_net
from tinyscene.export.errors import ExportError
from tinyscene.export.quantise.fake_quant import QuantConv, QuantGRN, QuantNet
from tinyscene.export.quantise.float_steps import GrnStep
from tinyscene.export.quantise.fold import fold
from tinyscene.export.quantise.lower import lower, mean_without_ties, product_without_ties
from tinyscene.export.quantise.steps import Step
from tinyscene.runtime.arith import conv_rescale, dequantise, mean_single, quantise, requantise, rescale_cut
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.interpreter import run

LABELS = tuple("abcde")


def _codes(x: torch.Tensor, graph: Graph, name: str) -> np.ndarray:
    nhwc = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
    return quantise(nhwc.detach().numpy(), graph.tensors[name].quant)


@pytest.mark.parametrize("steps", [ROUNDED, FREE], ids=["rounded", "free"])
@pytest.mark.parametrize(("grn", "padding"), [(True, "same"), (True, "torch"), (False, "same"), (False, "torch")])
@torch.no_grad()
def test_every_layer_equals_the_fake_quantised_one(grn: bool, padding: str, steps: tuple[Step, ...]) -> None:
    """Each layer gets the graph's inputs, and the graph rounds once: near ties a code may differ by one, no more."""
    net = calibrated(tiny_net(grn=grn, padding=padding), inputs(24), steps)
    graph = lower(net, name="tiny", labels=LABELS)
    trace: dict[str, np.ndarray] = {}
    run(graph, _codes(inputs(4, seed=3), graph, graph.input), rounding="single", trace=trace)
    real = {n: torch.from_numpy(dequantise(codes, graph.tensors[n].quant)) for n, codes in trace.items()}
    real = {n: x.permute(0, 3, 1, 2) if x.dim() == 4 else x for n, x in real.items()}
    for step in net.folded.steps:
        name = graph.output if (step.name,) == net.folded.output_names else step.name
        layer = net.layer_of(step)
        got = net.range_of(step.name)(layer(*(real[n] for n in step.inputs)))
        difference = np.abs(_codes(got, graph, name).astype(int) - trace[name])
        most = 3 if isinstance(layer, QuantGRN) else 1  # a code of the statistics moves many of the output
        assert difference.max() <= most, step.name
        assert (difference == 0).mean() > (0.6 if isinstance(layer, QuantGRN) else 0.95), step.name


def test_a_product_has_the_same_code_in_float32_and_in_fixed_point() -> None:
    """76.5000023, met on the published network: 76.5 in float32, hence 76; 77 in fixed point."""
    a, b, out = Quant.per_tensor(1.0, 3), Quant.per_tensor(1.0, -5), Quant.per_tensor(15498 / 76.5000023, 0)
    products = np.multiply.outer(np.arange(-128, 128) - 3, np.arange(-128, 128) + 5)

    def unlike(quant: Quant) -> int:
        rescale = conv_rescale(a, b, quant)
        cut = np.clip(rescale_cut(products, rescale.factor), -128, 127)
        return int((cut != requantise(products, rescale, quant, relu=False, rounding="single")).sum())

    assert unlike(out) > 0
    moved = product_without_ties(a, b, out)
    assert unlike(moved) == 0
    assert moved.scale[0] == pytest.approx(out.scale[0], rel=1e-6)


def test_a_mean_has_the_same_code_with_one_rounding_and_with_two() -> None:
    """-104.500022, met on the published network: -104 with two roundings, -105 with one."""
    x, out, total = Quant.per_tensor(0.04600103572010994, -128), Quant.per_tensor(0.005149888340383768, -128), -128378
    rule = mean_single(x, out, 1024)
    assert (rule.codes(np.array(total)).item(), rule.codes_of_one_rounding(np.array(total)).item()) == (-104, -105)
    moved = mean_without_ties(x, out, 1024)
    rule, totals = mean_single(x, moved, 1024), np.arange(-128 * 1024, 127 * 1024)
    assert np.array_equal(rule.codes(totals), rule.codes_of_one_rounding(totals))
    assert moved.scale[0] == pytest.approx(out.scale[0], rel=1e-4)


def test_weights_in_the_graph_are_those_of_the_network() -> None:
    net = calibrated(tiny_net(), inputs(24))
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
    net = calibrated(tiny_net(), inputs(24))
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
        lower(QuantNet(fold(tiny_net(), SHAPES)), name="tiny", labels=LABELS)


def test_weights_that_are_not_finite_are_refused() -> None:
    net = calibrated(tiny_net(), inputs(24), FREE)
    next(m for m in net.modules() if isinstance(m, QuantConv)).conv.weight.data[0] = float("nan")
    with pytest.raises(ExportError, match="not finite"):
        lower(net, name="tiny", labels=LABELS)
