"""The fake-quantised network: ranges, moving and frozen statistics, gradients; and fine-tuning it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.export.tiny import FREE, SHAPES, inputs, tiny_net
from tests.export.tiny import calibrated as calibrate
from tinyscene.export.errors import ExportError
from tinyscene.export.quantise.activation_range import Range
from tinyscene.export.quantise.fake_quant import QuantConv, QuantNet
from tinyscene.export.quantise.float_steps import ConvStep
from tinyscene.export.quantise.fold import fold
from tinyscene.export.quantise.lower import lower

REACH = st.floats(-1e4, 1e4, allow_nan=False)


@given(low=REACH, high=REACH)
def test_zero_always_has_a_code(low: float, high: float) -> None:
    r = Range("x")
    r.set(min(low, high), max(low, high))
    quant = r.quant()
    assert -128 <= quant.zero_point <= 127
    assert quant.scale[0] > 0
    assert r(torch.zeros(1)).item() == 0.0


def test_learned_and_fixed_rounding_give_the_same_values() -> None:
    r = Range("x")
    r.set(-1.3, 2.9)
    x = torch.randn(4000) * 2
    learned = r(x).detach().clone()
    r.stretch.requires_grad_(False)
    assert torch.allclose(r(x), learned, atol=1e-6)


def test_training_a_range_reduces_its_error() -> None:
    r = Range("x")
    r.set(-0.5, 0.5)
    x = torch.randn(5000)

    def error() -> torch.Tensor:
        return (r(x) - x).square().mean()

    first = error()
    for _ in range(200):
        (gradient,) = torch.autograd.grad(error(), r.stretch)
        assert torch.isfinite(gradient).all()
        with torch.no_grad():
            r.stretch -= 0.01 * gradient.sign()
    assert error() < first / 5


def test_a_network_without_ranges_is_refused() -> None:
    net = QuantNet(fold(tiny_net(), SHAPES))
    with pytest.raises(ExportError, match="has no range"):
        net(inputs(1))


@pytest.fixture(scope="module")
def calibrated() -> QuantNet:
    return calibrate(tiny_net(), inputs(24), FREE)


def test_moving_statistics_equal_batch_norm() -> None:
    """Without rounding, a training step of a folded layer equals convolution then BatchNorm, also in running values."""
    model = tiny_net()
    net = QuantNet(fold(model, SHAPES))
    for step in net.folded.steps:
        if not isinstance(step, ConvStep):
            continue
        layer = net.layer_of(step)
        assert isinstance(layer, QuantConv)
        assert step.norm is not None
        layer.rounding = False
        layer.train()
        norm = copy.deepcopy(step.norm).train()
        x = torch.randn(8, step.conv.in_channels, 9, 7)
        expected = norm(layer.convolve(x, step.conv.weight))
        expected = torch.relu(expected) if step.relu else expected
        assert torch.allclose(layer(x), expected, atol=1e-4), step.name
        assert layer.norm is not None
        assert torch.allclose(layer.norm.running_mean, norm.running_mean, atol=1e-4), step.name
        assert torch.allclose(layer.norm.running_var, norm.running_var, rtol=1e-3), step.name


def test_a_frozen_network_trains_as_it_evaluates(calibrated: QuantNet) -> None:
    net = copy.deepcopy(calibrated)
    net.train()
    net.freeze()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    x = inputs(4, seed=5)
    with torch.no_grad():
        trained = net(x)
        assert torch.equal(trained, net.eval()(x))
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


def test_gradients_reach_weights_and_ranges(calibrated: QuantNet) -> None:
    net = copy.deepcopy(calibrated)
    net.train()
    net.freeze(False)
    net(inputs(8)).square().sum().backward()
    untrained = [name for name, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not untrained
    moved = [r.name for r in net.all_ranges() if bool((r.stretch.grad != 0).any())]
    assert len(moved) > 0.9 * len(list(net.all_ranges()))


def test_a_few_training_steps_approach_the_float_network(calibrated: QuantNet) -> None:
    """Three ranges are too narrow; training on the float network's logits widens them, and the result lowers."""
    model, net = tiny_net(), copy.deepcopy(calibrated)
    for name in ("stages.s1.b1.block.1.0", "stages.s2.b4.block.0.0", "stages.s3.b6.block.1.0"):
        r = net.range_of(name)
        r.set(float(r.low) / 4, float(r.high) / 4)
    x = inputs(32, seed=9)
    with torch.no_grad():
        logits = model(x)
        first = float((net(x) - logits).square().mean())
    net.train()
    net.freeze(False)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    for step in range(60):
        if step == 40:
            net.freeze()
        loss = (net(x) - logits).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        last = float((net.eval()(x) - logits).square().mean())
    assert last < first / 3
    assert lower(net, name="tiny", labels=tuple("abcde")).output == "scores"


@pytest.mark.parametrize("part", ["weight", "gamma"])
def test_dead_channels_stay_finite(part: str) -> None:
    """Trained networks contain channels of 1e-40, and of gamma 0."""
    model = tiny_net()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    convs: list[Any] = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        for conv, norm in zip(convs[:8], norms[:8], strict=True):
            (conv.weight if part == "weight" else norm.weight)[0] = 1e-40 if part == "weight" else 0.0
    net = calibrate(model, inputs(16), FREE)
    net.train()
    net.freeze(False)
    loss = net(inputs(8)).square().sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert all(torch.isfinite(t).all() for t in net.state_dict().values())
    lower(net, name="dead", labels=tuple("abcde"))
