"""Calibrate a network layer by layer: int8 weights, biases and activation ranges from a few hundred clips.

Each layer is calibrated on the rounded output of the layers before it. Weights are rounded so that their errors cancel
on the calibration clips, the bias absorbs the mean error that remains, and the output gets the range of least error.
No labels and no gradients are needed. Every choice has a simpler alternative (:class:`LayerCalibration`), so that its
benefit can be measured: `benchmarks/int8.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .activation_range import LEVELS
from .equalise import beta_on_grid
from .fake_quant import QuantConv, QuantGRN, QuantNet, nearest_scale
from .float_steps import GrnStep, Step
from .quant_lstm import QuantLstm
from .quant_op import QuantOp
from .ranges import (
    BATCH,
    BEYOND,
    PLAIN_RANGES,
    Interval,
    least_error_range,
    range_on_floor,
    ranges_around_beta,
    rounded,
    set_statistics_ranges,
)
from .weight_rounding import compensated, covariance


@dataclass(frozen=True)
class LayerCalibration:
    """How ranges, weights and biases are chosen. The defaults are those of an export.

    Attributes:
        ranges: of activations; ``percentile`` and ``extremes`` look at the values alone.
        weights: ``compensated`` (:mod:`tinyscene.export.quantise.weight_rounding`), each rounded to its ``nearest``
            code, or ``free``: BatchNorm is not folded and weights keep their values, as training needs them.
        corrected_bias: add the mean error of each channel to its bias; needs weights that are not ``free``.
    """

    ranges: Literal["least error", "percentile", "extremes"] = "least error"
    weights: Literal["compensated", "nearest", "free"] = "compensated"
    corrected_bias: bool = True


def set_input_ranges(net: QuantNet, inputs: Sequence[Tensor], floor: float | None) -> None:
    """Set the range of each input of the network from calibration inputs (batch, ...); nothing in them is cut off.

    On a trained network, cutting a third off the top of the range cost 13 dB at the logits, and cutting off the lowest
    3 % of values cost 20 dB. A code that represents ``floor``, the smallest value of a log-mel, exactly gains 2 dB.
    """
    for name, x in zip(net.folded.input_names, inputs, strict=True):
        r = net.range_of(name)
        r.rounding = True
        if floor is None:
            r.set(float(x.min()) * BEYOND, float(x.max()) * BEYOND)
        else:
            r.set(*range_on_floor(floor, float(x.max()) * BEYOND))


@torch.no_grad()
def calibrate_layers(net: QuantNet, inputs: Sequence[Tensor], options: LayerCalibration) -> None:
    """Set every range behind the inputs, and weights and biases, from float32 calibration inputs (batch, ...).

    The ranges of the inputs must be set. All activations of all clips are in memory until their last use: 150 to 250
    clips are enough.
    """
    _Calibrator(net, options).run(inputs)
    net.round(True)


class _Calibrator:
    """Computes the float values and the rounded values of every tensor side by side."""

    def __init__(self, net: QuantNet, options: LayerCalibration) -> None:
        self.net, self.options = net, options
        self.plain_range = PLAIN_RANGES.get(options.ranges)  # None: least error
        self.exact: dict[str, Tensor] = {}
        self.rounded: dict[str, Tensor] = {}

    def run(self, inputs: Sequence[Tensor]) -> None:
        folded = self.net.folded
        self.exact = self.net.stored_inputs(inputs)
        self.rounded = {name: self.net.range_of(name)(x) for name, x in self.exact.items()}
        last_use = {name: step.name for step in folded.steps for name in step.inputs}
        for step in folded.steps:
            self.calibrate(step)
            for name in {name for name in step.inputs if last_use[name] == step.name}:
                del self.exact[name], self.rounded[name]

    def calibrate(self, step: Step) -> None:
        layer = self.net.layer_of(step)
        exact = [self.exact[name] for name in step.inputs]
        rounded_inputs = [self.rounded[name] for name in step.inputs]
        if isinstance(step, GrnStep):
            assert isinstance(layer, QuantGRN)
            self.calibrate_grn(step, layer, exact[0], rounded_inputs[0])
        elif isinstance(layer, QuantConv):
            layer.rounding = False
            target = layer(exact[0])
            if self.options.weights != "free":
                self.fix_weights(layer, exact[0], rounded_inputs[0])
            layer.rounding = True
            self.set_range(step.name, target, layer(rounded_inputs[0]))
        elif isinstance(layer, QuantLstm):
            self.calibrate_lstm(layer, exact[0], rounded_inputs[0])
        else:
            target = layer(*exact)
            if isinstance(layer, QuantOp):
                layer.round_constants(True)
            self.set_range(step.name, target, layer(*rounded_inputs))

    def calibrate_lstm(self, layer: QuantLstm, exact: Tensor, x: Tensor) -> None:
        """The hidden state is rounded once its range is known, and changes the outputs then."""
        name = layer.step.name
        layer.rounding = False
        target, cells = layer.states(exact)
        layer.set_limit(cells)
        layer.rounding = True
        self.set_range(name, target, layer(x))
        self.rounded[name] = self.net.range_of(name)(layer(x))

    def set_range(self, name: str, exact: Tensor, raw: Tensor) -> None:
        """Choose the range of tensor ``name``; layers behind it read its rounded values."""
        r = self.net.range_of(name)
        readers = [s for s in self.net.folded.steps if name in s.inputs]
        grn = next((s for s in readers if isinstance(s, GrnStep)), None)
        if not self.net.is_free(name):
            pass  # the op decides it
        elif self.plain_range is not None:
            r.set(*self.plain_range(raw))
        elif grn is not None:
            r.set(*self.range_before(grn, raw))
        else:
            r.set(*least_error_range(raw))
        r.rounding = True
        self.exact[name], self.rounded[name] = exact, r(raw)

    def range_before(self, step: GrnStep, raw: Tensor) -> Interval:
        """Range of least error at the output of the GRN that reads the tensor; negative values matter little there."""
        layer = self.net.layer_of(step)
        assert isinstance(layer, QuantGRN)
        batches = torch.split(raw, BATCH)
        layer.round_stages(False)
        targets = [layer(batch) for batch in batches]

        def error(low: float, high: float) -> float:
            pairs = zip(batches, targets, strict=True)
            return sum(float((layer(rounded(batch, low, high)) - target).square().sum()) for batch, target in pairs)

        return least_error_range(raw, error)

    def calibrate_grn(self, step: GrnStep, layer: QuantGRN, exact: Tensor, x: Tensor) -> None:
        layer.round_stages(False)
        scaled_range, output_range = self.grn_ranges(step, layer, x)
        power = layer.power(exact)
        gain = layer.statistics(power)["gain"]
        self.exact[step.name] = layer(exact)
        self.set_statistics_ranges(layer, x, gain, power)
        layer.range_of("scaled").set(*scaled_range)
        self.net.range_of(step.name).set(*output_range)
        layer.round_stages(True)
        self.net.range_of(step.name).rounding = True
        self.rounded[step.name] = self.net.range_of(step.name)(layer(x))

    def grn_ranges(self, step: GrnStep, layer: QuantGRN, x: Tensor) -> tuple[Interval, Interval]:
        """Ranges of the product and of its sum with beta. With ReLU they share one grid that contains every beta."""
        scaled = layer.scaled(x, layer.statistics(layer.power(x))["gain"])
        if self.plain_range is not None:
            return self.plain_range(scaled), self.plain_range(layer(x))
        if not layer.step.relu:
            return least_error_range(scaled), least_error_range(scaled + layer.grn.beta)
        beta = (layer.grn.beta * layer.factor).flatten()
        product, total = ranges_around_beta(scaled, float(beta[beta.abs().argmax()]))
        beta_on_grid(self.net, step, (total[1] - total[0]) / LEVELS)
        return product, total

    def set_statistics_ranges(self, layer: QuantGRN, x: Tensor, gain: Tensor, power: Tensor) -> None:
        if self.plain_range is None:
            set_statistics_ranges(layer, x, gain, power)
            return
        layer.range_of("square").set(*self.plain_range(x * x))
        for stage, values in layer.statistics(layer.power(x)).items():
            layer.range_of(stage).set(*self.plain_range(values))
        layer.round_stages(True)

    def fix_weights(self, layer: QuantConv, exact: Tensor, x: Tensor) -> None:
        """Round the weights, and correct the bias so that each channel keeps its mean over the clips."""
        weight, bias = layer.folded()
        if self.options.weights == "compensated":
            on_grid, scale = compensated(weight, covariance(layer, x))
        else:
            scale = nearest_scale(weight)
            along = scale.view(-1, 1, 1, 1)
            on_grid = (weight / along).round() * along
        if self.options.corrected_bias:
            before, after = layer.convolve(layer.images(exact), weight), layer.convolve(layer.images(x), on_grid)
            bias = bias + before.mean(dim=(0, 2, 3)) - after.mean(dim=(0, 2, 3))
        layer.fix(on_grid, bias, scale)
