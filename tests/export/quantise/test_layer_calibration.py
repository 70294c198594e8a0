"""Calibration: equalised channels, compensated weights, ranges of least error, and their combined benefit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.export.tiny import FREE, SHAPES, calibrated, inputs, tiny_net
from tinyscene.export.errors import ExportError
from tinyscene.export.quantise.equalise import equalise
from tinyscene.export.quantise.fake_quant import QuantConv, QuantGRN, QuantNet, nearest_scale
from tinyscene.export.quantise.float_steps import ConvStep
from tinyscene.export.quantise.fold import fold
from tinyscene.export.quantise.layer_calibration import LayerCalibration
from tinyscene.export.quantise.ranges import BEYOND, PLAIN_RANGES, least_error_range, ranges_around_beta, rounded
from tinyscene.export.quantise.steps import FOLD, INPUT_RANGE, Work, calibrate_with
from tinyscene.export.quantise.weight_rounding import compensated, covariance
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.training.models.layers import GRN


def _convs(net: QuantNet) -> list[QuantConv]:
    return [m for m in net.modules() if isinstance(m, QuantConv)]


def _sqnr_db(exact: torch.Tensor, quantised: torch.Tensor) -> float:
    return float(10 * torch.log10(exact.square().sum() / (exact - quantised).square().sum()))


def test_equalisation_does_not_change_the_function() -> None:
    model = tiny_net()
    net = QuantNet(fold(model, SHAPES))
    x = inputs(6)
    before = [c.folded()[0].clone() for c in _convs(net)]
    equalise(net, [x])
    with torch.no_grad():
        assert torch.allclose(net(x), model(x), atol=1e-4)
        largest = net.activations(x)["stages.s1.b1.block.0.0"].amax(dim=(0, 2, 3))
    assert float(largest.min()) > 0.9 * float(largest.max())
    assert any(not torch.equal(c.folded()[0], b) for c, b in zip(_convs(net), before, strict=True))


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4], ids=["stem", "dense 3x3", "expand", "depthwise", "project"])
def test_compensated_rounding_is_never_worse_than_nearest(index: int) -> None:
    layer = _convs(QuantNet(fold(tiny_net(), SHAPES)))[index]
    torch.manual_seed(index)
    x = torch.randn(12, layer.conv.in_channels, 10, 8).cumsum(dim=3) + 2.0  # correlated patches
    weight, _ = layer.folded()
    with torch.no_grad():
        grid, scale = compensated(weight, covariance(layer, x))
        steps = grid / scale[:, None, None, None]
        assert torch.allclose(steps, steps.round(), atol=1e-3)
        assert float(steps.abs().max()) <= 127.001
        near = nearest_scale(weight)[:, None, None, None]
        nearest = (weight / near).round() * near
        exact = layer.convolve(x, weight)
        ours, theirs = ((layer.convolve(x, w) - exact).var(dim=(0, 2, 3), correction=0) for w in (grid, nearest))
    assert (ours <= theirs * 1.0001 + 1e-12).all()
    if weight.shape[2] > 1:  # the random inputs of 1x1 layers are hardly correlated across channels
        assert float(ours.sum()) < 0.8 * float(theirs.sum())


def test_a_range_contains_zero_and_little_more_than_the_values() -> None:
    low, high = least_error_range(torch.rand(5000) + 1.0)
    assert low == 0.0
    assert 1.9 < high <= 2.0 * BEYOND
    assert least_error_range(torch.zeros(10)) == (0.0, 0.0)


def test_a_range_clips_values_that_the_error_ignores() -> None:
    values = torch.randn(20000)

    def error(low: float, high: float) -> float:
        return float((rounded(values, low, high) - values)[values > 0].square().mean())

    low, high = least_error_range(values, error)
    assert low > 0.6 * float(values.min())
    assert high > 0.9 * float(values.max())


@pytest.mark.parametrize("beta", [0.3, -0.4, 0.0, 1e-5])
def test_adding_beta_needs_no_second_rounding(beta: float) -> None:
    scaled = torch.maximum(torch.randn(5000) * 2, torch.tensor(-beta))
    before, after = ranges_around_beta(scaled, beta)
    kept = rounded(scaled, *before)
    summed = torch.relu(kept + beta)
    step = (after[1] - after[0]) / 255
    inside = summed < after[1]
    tolerance = 1e-5 if abs(beta) > step else step
    assert float((rounded(summed, *after) - summed)[inside].abs().max()) <= tolerance


def test_every_beta_before_a_relu_is_a_whole_number_of_steps() -> None:
    """Otherwise the product is rounded twice, alone and with beta: 3 dB."""
    model = tiny_net()
    for grn in (m for m in model.modules() if isinstance(m, GRN)):
        grn.beta.data.fill_(-0.2)
    net = calibrated(model, inputs(24))
    whole = 0
    for step in net.folded.steps:
        layer = net.layer_of(step)
        if isinstance(layer, QuantGRN):
            code_step, _ = net.range_of(step.name).affine()
            steps = (layer.grn.beta * layer.factor / code_step).abs()
            assert torch.allclose(steps, steps.round(), atol=1e-2) or float(steps.min()) < 1
            whole += int(float(steps.max()) >= 2 and steps.numel() > 1)
    assert whole
    net.round(False)
    with torch.no_grad():
        assert torch.allclose(net(inputs(4)), model(inputs(4)), atol=0.3)


def test_statistics_have_room_for_a_louder_clip() -> None:
    net = calibrated(tiny_net(), inputs(24))
    grn = next(m for m in net.modules() if isinstance(m, QuantGRN))
    x = 0.2 + torch.rand(2, 8, 8, 4)
    assert float(grn.ranges["power"].high) > 0
    gain = grn.statistics(grn.power(x))["gain"]
    assert torch.isfinite(gain).all()


def test_statistics_do_not_saturate_on_any_calibration_clip() -> None:
    """Their extremes once came from every second or third clip: a saturated statistic changes a whole clip."""
    clips = inputs(100)
    clips[37] *= 6.0
    net = calibrated(tiny_net(), clips)
    values = net.activations(clips)
    for step in net.folded.steps:
        layer = net.layer_of(step)
        if isinstance(layer, QuantGRN):
            power = layer.power(values[step.inputs[0]])  # of rounded squares
            assert float(layer.ranges["power"].high) >= float(power.max())


@pytest.mark.parametrize("grn", [True, False])
def test_calibrated_network_follows_the_float_one(grn: bool) -> None:
    x = inputs(64, seed=77)
    full, ranges_only = [], []
    for seed in range(3):  # one small net alone may go either way by a decibel
        model = tiny_net(grn=grn, seed=seed)
        net, free = calibrated(model, inputs(192)), calibrated(model, inputs(192), FREE)
        with torch.no_grad():
            exact = model(x)
            full.append(_sqnr_db(exact, net(x)))
            ranges_only.append(_sqnr_db(exact, free(x)))
    assert min(full) > 9
    assert sum(full) > sum(ranges_only)


def test_nearest_weights_and_corrected_biases() -> None:
    model, x = tiny_net(), inputs(32)
    nearest = LayerCalibration("extremes", "nearest", corrected_bias=False)
    plain, corrected = (
        calibrated(model, x, (FOLD, INPUT_RANGE, calibrate_with(options)))
        for options in (nearest, replace(nearest, corrected_bias=True))
    )
    for floating, fixed in zip(_convs(QuantNet(fold(model, SHAPES))), _convs(plain), strict=True):
        weight, bias = floating.folded()
        step = nearest_scale(weight)[:, None, None, None]
        assert float(((fixed.conv.weight - weight) / step).abs().max()) <= 0.5001
        assert torch.equal(fixed.conv.bias, bias)
    with torch.no_grad():
        mean = model(x).mean(dim=0)
        errors = [float((net(x).mean(dim=0) - mean).abs().max()) for net in (plain, corrected)]
    assert errors[1] < errors[0]
    codes = torch.cat([values.flatten() for values in corrected.activations(x).values()])
    assert torch.isfinite(codes).all()


def test_percentiles_clip_a_single_outlier() -> None:
    values = torch.cat([torch.rand(99_999), torch.tensor([1000.0])])
    low, high = PLAIN_RANGES["percentile"](values)
    assert 0.0 <= low < 0.01
    assert 0.99 < high < 1.1
    assert PLAIN_RANGES["extremes"](values)[1] == 1000.0


@pytest.mark.parametrize("floor", [-1.402585, -0.3, -8.0])
def test_the_input_represents_zero_and_its_floor_exactly(floor: float) -> None:
    x = inputs(16).clamp(min=floor)
    net = calibrated(tiny_net(), x, floor=floor)
    r = net.range_of(net.folded.input_names[0])
    marks = torch.tensor([floor, 0.0])
    assert torch.allclose(r(marks), marks, rtol=0, atol=1e-6)
    assert float(r.high) >= float(x.max()) * BEYOND * 0.999


def test_weights_do_not_change_before_training() -> None:
    net = calibrated(tiny_net(), inputs(8), FREE)
    assert all(c.norm is not None and not c.fixed_scale.any() for c in _convs(net))


def test_calibration_refuses_missing_clips_and_values_that_are_not_finite() -> None:
    with pytest.raises(ExportError, match="no clips"):
        Work(tiny_net(), {LOG_MEL: inputs(2)[:0]})
    broken = inputs(2)
    broken[0, 0, 3, 3] = float("nan")
    with pytest.raises(ExportError, match="not finite"):
        Work(tiny_net(), {LOG_MEL: broken})


def test_the_covariance_of_inputs_far_from_zero_is_positive_definite() -> None:
    """A channel that hardly varies around a large mean once made the factorisation of its covariance fail."""
    torch.manual_seed(0)
    step = ConvStep("far", ("x",), nn.Conv2d(2, 2, 3, groups=2), (0, 0, 0, 0))
    layer, x = QuantConv(step), torch.randn(8, 2, 6, 6)
    x[:, 1] = 300.0 + 1e-4 * x[:, 1]
    weight, scale = compensated(layer.conv.weight, covariance(layer, x))
    assert torch.isfinite(weight).all()
    assert (scale > 0).all()
