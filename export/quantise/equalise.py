"""Give every channel between two convolutions, or a GRN and one, the same reach, so that all use their 256 codes.

Multiplying a channel by a positive factor before its ReLU and dividing the next weights by it changes nothing in the
function (Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019). A depthwise
layer behind takes it for free, since its weights have a scale per channel; a dense one shares a scale among its
inputs, so there the factor is a compromise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .fake_quant import QuantConv, QuantGRN, QuantNet
from .fold import ConvStep, GrnStep

_DENSE_SHARE = 0.5
_LARGEST_FACTOR = 64.0
_DEAD = 1e-6


@torch.no_grad()
def equalise(net: QuantNet, x: Tensor) -> None:
    """Rescale the channels between convolutions by their reach on ``x`` (batch, 1, mel, time)."""
    net.round(False)
    values = net.activations(x)
    for first in net.folded.steps:
        readers = [s for s in net.folded.steps if first.name in s.inputs]
        if not (isinstance(first, ConvStep | GrnStep) and first.relu and len(readers) == 1):
            continue
        (second,) = readers
        if not isinstance(second, ConvStep):
            continue
        source, sink = net.layer_of(first), net.layer_of(second)
        assert isinstance(source, QuantConv | QuantGRN)
        assert isinstance(sink, QuantConv)
        reach = values[first.name].amax(dim=(0, 2, 3))
        alive = reach > _DEAD * reach.max()
        factor = torch.where(alive, reach.max() / reach.clamp(min=1e-30), torch.ones_like(reach))
        factor = factor.clamp(max=_LARGEST_FACTOR)
        if not second.depthwise:
            factor = factor**_DENSE_SHARE
        _scale_outputs(source, factor)
        _unscale_inputs(sink, factor)


@torch.no_grad()
def beta_on_grid(net: QuantNet, grn: GrnStep, code_step: float) -> None:
    """Shrink the factors of a GRN's channels until each one's beta is a whole number of steps between codes.

    Then adding beta to codes rounds nothing a second time. Channels whose beta is less than a step stay.
    """
    layer = net.layer_of(grn)
    assert isinstance(layer, QuantGRN)
    if layer.factor.numel() == 1:
        return
    steps = (layer.grn.beta * layer.factor).abs() / code_step
    shrunk = torch.where(steps >= 1.0, (steps + 1e-3).floor() / steps, torch.ones_like(steps)).flatten()
    _scale_outputs(layer, shrunk)
    (reader,) = (s for s in net.folded.steps if grn.name in s.inputs)
    sink = net.layer_of(reader)
    assert isinstance(sink, QuantConv)
    _unscale_inputs(sink, shrunk)


def _unscale_inputs(layer: QuantConv, factor: Tensor) -> None:
    layer.conv.weight.div_(factor.view((-1, 1, 1, 1) if layer.step.depthwise else (1, -1, 1, 1)))


def _scale_outputs(layer: QuantConv | QuantGRN, factor: Tensor) -> None:
    if isinstance(layer, QuantGRN):
        layer.factor = layer.factor * factor.view(-1, 1, 1)
        return
    if layer.norm is not None:
        layer.norm.weight.mul_(factor)
        layer.norm.bias.mul_(factor)
        return
    layer.conv.weight.mul_(factor.view(-1, 1, 1, 1))
    if layer.conv.bias is not None:
        layer.conv.bias.mul_(factor)
