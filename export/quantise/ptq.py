"""Post-training quantisation: a float network and some clips in, ranges and int8 weights out.

Layer by layer, each on what the rounded layers before it really deliver: weights are rounded so that their errors
cancel on the calibration clips, the bias takes up the mean difference that is left, and the output gets the range of
least error. No labels, no gradients. Each of these ways has a plainer one beside it (:class:`Ways`), so that its worth
can be measured: `benchmarks/int8.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import ExportError
from .equalise import beta_on_grid, equalise
from .fake_quant import LEVELS, QuantConv, QuantGRN, QuantNet, nearest_scale
from .fold import GrnStep, Step
from .ranges import (
    BEYOND,
    PLAIN_RANGES,
    least_error_range,
    range_on_floor,
    ranges_around_beta,
    rounded,
    set_statistics_ranges,
)
from .weight_rounding import compensated, covariance

GRN_CLIPS = 24
STATISTICS_CLIPS = 48
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Ways:
    """How calibration chooses. The defaults are what an export takes; the others are there to be compared with them.

    ``weights``: ``compensated`` (:mod:`tinyscene.export.quantise.weight_rounding`), each to its ``nearest`` code, or
    ``free``: BatchNorm stays apart and weights keep their values, as training wants them. ``corrected_bias`` needs
    weights that are not free.
    """

    equalised: bool = True
    ranges: Literal["least error", "percentile", "extremes"] = "least error"
    weights: Literal["compensated", "nearest", "free"] = "compensated"
    corrected_bias: bool = True


FOR_EXPORT, FOR_TRAINING = Ways(), Ways(weights="free")


@torch.no_grad()
def calibrate(
    net: QuantNet,
    batches: Iterable[Tensor],
    *,
    floor: float | None = None,
    ways: Ways = FOR_EXPORT,
    progress: Progress | None = None,
) -> None:
    """Set every range, weight and bias in the given ``ways`` from float32 ``batches`` (batch, 1, mel, time).

    Leaves ``net`` frozen, in evaluation mode, ready to lower. All clips are kept in memory: some 150 to 250 are enough.
    ``floor`` is the smallest value the input can take (:attr:`tinyscene.runtime.spec.FrontendSpec.floor`), if there is
    one.

    Raises:
        ExportError: there are no clips, or a value is not finite.
    """
    clips = list(batches)
    if not sum(len(batch) for batch in clips):
        raise ExportError("calibration", "no clips", next_step="give at least one labelled or unlabelled clip")
    x = torch.cat(clips)
    if not torch.isfinite(x).all():
        raise ExportError("calibration", "clips hold values that are not finite", next_step="check the audio")
    net.eval()
    net.freeze()
    if ways.equalised:
        equalise(net, x[:: max(1, len(x) // 64)])
    else:
        net.round(False)
    _set_input_range(net, x, floor)
    _Walk(net, ways).over(x, progress)
    net.round(True)


def _set_input_range(net: QuantNet, x: Tensor, floor: float | None) -> None:
    """Nothing the network will hear may be cut: on a real net, input cut at the top by a third cost 13 dB at the
    logits, and the lowest 3 % of values cut off cost 20 dB. A code that is the floor exactly gains 2 dB."""
    r = net.range_of(net.folded.input_name)
    r.rounding = True
    if floor is None:
        r.set(float(x.min()) * BEYOND, float(x.max()) * BEYOND)
    else:
        r.set(*range_on_floor(floor, float(x.max()) * BEYOND))


class _Walk:
    """Takes the float and the rounded values of every tensor through the network side by side."""

    def __init__(self, net: QuantNet, ways: Ways) -> None:
        self.net, self.ways = net, ways
        self.plain_range = PLAIN_RANGES.get(ways.ranges)  # None: of least error
        self.exact: dict[str, Tensor] = {}
        self.rounded: dict[str, Tensor] = {}

    def over(self, x: Tensor, progress: Progress | None) -> None:
        folded = self.net.folded
        self.exact[folded.input_name], self.rounded[folded.input_name] = x, self.net.range_of(folded.input_name)(x)
        last_use = {name: step.name for step in folded.steps for name in step.inputs}
        for number, step in enumerate(folded.steps, start=1):
            self.take(step)
            for name in {name for name in step.inputs if last_use[name] == step.name}:
                del self.exact[name], self.rounded[name]
            if progress is not None:
                progress(number, len(folded.steps))

    def take(self, step: Step) -> None:
        layer = self.net.layer_of(step)
        exact = [self.exact[name] for name in step.inputs]
        rounded = [self.rounded[name] for name in step.inputs]
        if isinstance(layer, QuantGRN):
            self.take_grn(step, layer, exact[0], rounded[0])
            return
        if isinstance(layer, QuantConv):
            layer.rounding = False
            target = layer(exact[0])
            if self.ways.weights != "free":
                self.fix_weights(layer, exact[0], rounded[0])
            layer.rounding = True
            self.keep(step.name, target, layer(rounded[0]))
        else:
            self.keep(step.name, layer(*exact), layer(*rounded))

    def keep(self, name: str, exact: Tensor, raw: Tensor) -> None:
        """Choose the range of a tensor and go on with its rounded values."""
        r = self.net.range_of(name)
        readers = [s for s in self.net.folded.steps if name in s.inputs]
        grn = next((s for s in readers if isinstance(s, GrnStep)), None)
        if self.plain_range is not None:
            r.set(*self.plain_range(raw))
        elif grn is not None:
            r.set(*self.range_before(grn, raw))
        else:
            r.set(*least_error_range(raw))
        r.rounding = True
        self.exact[name], self.rounded[name] = exact, r(raw)

    def range_before(self, step: GrnStep, raw: Tensor) -> tuple[float, float]:
        """The range of least error behind the GRN that reads the tensor: negative values count little there."""
        layer = self.net.layer_of(step)
        assert isinstance(layer, QuantGRN)
        some = raw[:: max(1, len(raw) // GRN_CLIPS)]
        layer_rounding(layer, False)
        wanted = layer(some)
        return least_error_range(
            raw, lambda low, high: float((layer(rounded(some, low, high)) - wanted).square().mean())
        )

    def take_grn(self, step: GrnStep, layer: QuantGRN, exact: Tensor, x: Tensor) -> None:
        layer_rounding(layer, False)
        scaled_range, output_range = self.grn_ranges(step, layer, x)
        power = layer.power(exact)
        wanted = layer.statistics(power)["gain"]
        self.exact[step.name] = layer(exact)
        self.choose_statistics_ranges(layer, x, wanted, power)
        layer.ranges["scaled"].set(*scaled_range)
        self.net.range_of(step.name).set(*output_range)
        layer_rounding(layer, True)
        self.net.range_of(step.name).rounding = True
        self.rounded[step.name] = self.net.range_of(step.name)(layer(x))

    def grn_ranges(self, step: GrnStep, layer: QuantGRN, x: Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges of the product and of the sum with beta. Behind ReLU they share one grid, with every beta on it."""
        scaled = layer.scaled(x, layer.statistics(layer.power(x))["gain"])
        if self.plain_range is not None:
            return self.plain_range(scaled), self.plain_range(layer(x))
        if not layer.step.relu:
            return least_error_range(scaled), least_error_range(scaled + layer.grn.beta)
        beta = (layer.grn.beta * layer.factor).flatten()
        ends = ranges_around_beta(scaled, float(beta[beta.abs().argmax()]))
        beta_on_grid(self.net, step, (ends[1][1] - ends[1][0]) / LEVELS)
        return ends

    def choose_statistics_ranges(self, layer: QuantGRN, x: Tensor, gain: Tensor, power: Tensor) -> None:
        if self.plain_range is None:
            every = max(1, len(x) // STATISTICS_CLIPS)
            set_statistics_ranges(layer, x[::every], gain[::every], power[::every])
            return
        layer.ranges["square"].set(*self.plain_range(x * x))
        for stage, values in layer.statistics(layer.power(x)).items():
            layer.ranges[stage].set(*self.plain_range(values))
        layer_rounding(layer, True)

    def fix_weights(self, layer: QuantConv, exact: Tensor, x: Tensor) -> None:
        """Rounded weights, and the bias that gives each channel its exact mean."""
        weight, bias = layer.folded()
        if self.ways.weights == "compensated":
            codes, scale = compensated(weight, covariance(layer, x))
        else:
            scale = nearest_scale(weight)
            along = scale.view(-1, 1, 1, 1)
            codes = (weight / along).round() * along
        if self.ways.corrected_bias:
            bias = (
                bias + layer.convolve(exact, weight).mean(dim=(0, 2, 3)) - layer.convolve(x, codes).mean(dim=(0, 2, 3))
            )
        layer.fix(codes, bias, scale)


def layer_rounding(layer: QuantGRN, rounding: bool) -> None:
    for r in layer.ranges.values():
        r.rounding = rounding
