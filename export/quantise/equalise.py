"""Equalise the largest values of the channels between two layers, so that each channel uses all 256 codes.

Multiplying a channel by a positive factor before its ReLU and dividing the next weights by it does not change the
function (Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019). If the next
layer is depthwise this is free, since its weights have a scale per channel; a dense layer has one scale for all of its
inputs, so there the factor is a compromise. The first layer is a convolution or a GRN, the second a convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .fake_quant import QuantConv, QuantGRN, QuantNet
from .float_steps import ConvStep, GrnStep
from .ranges import BATCH

_DENSE_SHARE = 0.75  # 0.5 and 1 lose 0.6 and 0.3 dB on a trained network (benchmarks/int8.py)
_LARGEST_FACTOR = 64.0
_DEAD = 1e-6

Pair = tuple[ConvStep | GrnStep, ConvStep]


@torch.no_grad()
def equalise(net: QuantNet, inputs: Sequence[Tensor]) -> None:
    """Rescale the channels between layers by their largest values for calibration inputs (n, ...), all of them."""
    net.round(False)
    pairs = list(_pairs(net))
    for (first, second), largest in zip(pairs, _largest(net, pairs, inputs), strict=True):
        source, sink = net.layer_of(first), net.layer_of(second)
        assert isinstance(source, QuantConv | QuantGRN)
        assert isinstance(sink, QuantConv)
        alive = largest > _DEAD * largest.max()
        factor = torch.where(alive, largest.max() / largest.clamp(min=1e-30), torch.ones_like(largest))
        factor = factor.clamp(max=_LARGEST_FACTOR)
        if not second.depthwise:
            factor = factor**_DENSE_SHARE
        _scale_outputs(source, factor)
        _unscale_inputs(sink, factor)


def _pairs(net: QuantNet) -> Iterator[Pair]:
    """Layers with ReLU, and the convolution that alone reads them."""
    for first in net.folded.steps:
        readers = [s for s in net.folded.steps if first.name in s.inputs]
        if not (isinstance(first, ConvStep | GrnStep) and first.relu and first.ceiling is None and len(readers) == 1):
            continue
        (second,) = readers
        if isinstance(second, ConvStep) and first.name not in net.folded.output_names:
            yield first, second


def _largest(net: QuantNet, pairs: Sequence[Pair], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The largest value of each channel between the two layers of a pair; the clips pass in batches."""
    largest: list[Tensor] = []
    for batch in zip(*(torch.split(x, BATCH) for x in inputs), strict=True):
        values = net.activations(*batch)
        found = []
        for first, second in pairs:
            sink = net.layer_of(second)
            assert isinstance(sink, QuantConv)
            found.append(sink.images(values[first.name]).amax(dim=(0, 2, 3)))
        largest = list(map(torch.maximum, largest, found)) if largest else found
    return largest


@torch.no_grad()
def beta_on_grid(net: QuantNet, grn: GrnStep, code_step: float) -> None:
    """Shrink the channel factors of a GRN until the beta of each channel is a whole number of steps between codes.

    Adding beta then needs no second rounding. Channels with a beta below one step keep their factor.
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
    """Divide the weights that read each input channel; an output reads the channels of its group."""
    groups, weight = layer.conv.groups, layer.conv.weight
    by_group = factor.view(groups, 1, -1).expand(-1, len(weight) // groups, -1)
    weight.div_(by_group.reshape(len(weight), -1, 1, 1))


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
