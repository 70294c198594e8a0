"""The fake-quantised network: float arithmetic with every rounding the integer graph will make.

One class serves both ways to int8. Post-training: calibrate the ranges, freeze, lower. Quantisation-aware: train with
ranges and BatchNorm statistics moving, freeze both, train a little more, lower. Weights are quantised per output channel
after BatchNorm is folded into them, inside the forward pass, so that training sees the folded rounding.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.graph import Quant
from training.models.layers import GRN

from .errors import ExportError
from .fold import AddStep, ConvStep, Folded, GrnStep, MeanStep, PoolStep, Step, folded_weight, norm_gain

MOMENTUM = 0.05  # of the moving ranges: about 20 batches of memory


class Range(nn.Module):
    """The range of one activation and the rounding to its 256 codes.

    ``observing`` moves the range towards each batch's extremes; the first batch sets it. Zero always has a code.
    """

    low: Tensor
    high: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.observing = True
        self.rounding = True
        self.register_buffer("low", torch.tensor(float("inf")))
        self.register_buffer("high", torch.tensor(float("-inf")))

    def forward(self, x: Tensor) -> Tensor:
        if self.observing:
            self.observe(x.detach())
        if not self.rounding:
            return x
        scale, zero_point = self.parameters_of_range()
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127)

    def observe(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        if torch.isinf(self.low):
            self.low.copy_(low)
            self.high.copy_(high)
        else:
            self.low.lerp_(low, MOMENTUM)
            self.high.lerp_(high, MOMENTUM)

    def parameters_of_range(self) -> tuple[Tensor, Tensor]:
        """Scale (float32) and zero point (int32) as 0-d tensors."""
        low, high = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        scale = ((high - low) / 255.0).clamp(min=1e-8)
        zero_point = (-128.0 - torch.round(low / scale)).clamp(-128, 127).to(torch.int32)
        return scale, zero_point

    def quant(self) -> Quant:
        """The range in the graph's terms; raises ExportError if nothing was ever observed."""
        if torch.isinf(self.low):
            raise ExportError(
                f"activation '{self.name}'", "has no range", next_step="calibrate or train before lowering"
            )
        scale, zero_point = self.parameters_of_range()
        return Quant.per_tensor(float(scale), int(zero_point))


def weight_scale(weight: Tensor) -> Tensor:
    """Symmetric per-output-channel scale (O,): the largest magnitude gets code 127."""
    return weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=1e-8) / 127.0


def fake_quantise_weight(weight: Tensor) -> Tensor:
    scale = weight_scale(weight)
    zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)


class QuantConv(nn.Module):
    """Convolution with BatchNorm folded in the forward pass and weights rounded to int8 codes.

    While statistics move, the batch's own mean and variance normalise, as in float training; they are taken from the
    folded convolution's output, so that one convolution is enough. Source of the scheme: Krishnamoorthi,
    "Quantizing deep convolutional networks for efficient inference", 2018, section 3.2.2.
    """

    def __init__(self, step: ConvStep) -> None:
        super().__init__()
        self.step = step
        self.conv, self.norm = step.conv, step.norm
        self.frozen = False

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = folded_weight(self.step)
        y = self._convolve(x, fake_quantise_weight(weight))
        if self.norm is not None and self.training and not self.frozen:
            y = self._normalised(y, self.norm)
        else:
            y = y + bias[:, None, None]
        return torch.relu(y) if self.step.relu else y

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        top, left, bottom, right = self.step.pads
        if (top, left) == (bottom, right):
            return F.conv2d(x, weight, None, self.conv.stride, (top, left), groups=self.conv.groups)
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, weight, None, self.conv.stride, groups=self.conv.groups)

    def _normalised(self, y: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """BatchNorm of the unfolded output y / gain with this batch's statistics, and the running ones updated."""
        gain = norm_gain(norm).detach()
        safe = torch.where(gain.abs() < 1e-12, torch.full_like(gain, 1e-12), gain)
        variance, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
        count = y.numel() / y.shape[1]
        batch_mean, batch_variance = mean / safe, variance / safe.square()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        running_std = torch.sqrt(norm.running_var + norm.eps).detach()
        ratio = running_std * torch.rsqrt(batch_variance + norm.eps)
        with torch.no_grad():
            momentum = norm.momentum or 0.1
            norm.running_mean.lerp_(batch_mean.detach(), momentum)
            norm.running_var.lerp_(batch_variance.detach() * count / max(count - 1, 1), momentum)
        return (y - mean[:, None, None]) * ratio[:, None, None] + norm.bias[:, None, None]


class QuantGRN(nn.Module):
    """Global response normalisation as the chain of int8 ops it is lowered to, each result rounded.

    power = mean(x^2); norm = power * rsqrt(power); ratio = norm / mean(norm) by two products with rsqrt(mean);
    y = relu(x * (1 + gamma * ratio) + beta). Epsilon is below half a code and left out.
    """

    STAGES = (
        "square",
        "power",
        "inverse_norm",
        "norm",
        "total",
        "inverse_root",
        "half_ratio",
        "ratio",
        "gain",
        "scaled",
    )

    def __init__(self, step: GrnStep) -> None:
        super().__init__()
        self.step = step
        self.grn: GRN = step.grn
        self.ranges = nn.ModuleDict({stage: Range(f"{step.name}.{stage}") for stage in self.STAGES})

    def forward(self, x: Tensor) -> Tensor:
        r = self.ranges
        power = r["power"](r["square"](x * x).mean(dim=(2, 3), keepdim=True))
        norm = r["norm"](power * r["inverse_norm"](_rsqrt(power)))
        inverse_root = r["inverse_root"](_rsqrt(r["total"](norm.mean(dim=1, keepdim=True))))
        ratio = r["ratio"](r["half_ratio"](norm * inverse_root) * inverse_root)
        gain = r["gain"](1.0 + self.grn.gamma * ratio)
        y = r["scaled"](x * gain) + self.grn.beta
        return torch.relu(y) if self.step.relu else y


def _rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x); an exact 0, which int8 maps to the largest code, gets the value of the smallest positive input."""
    positive = torch.where(x > 0, x, torch.full_like(x, torch.inf))
    smallest = positive.detach().amin()
    return torch.rsqrt(torch.where(x > 0, x, smallest))


class QuantNet(nn.Module):
    """The folded network with a :class:`Range` behind every activation.

    Takes float32 (batch, 1, mel, time), gives logits (batch, classes). Trains like any module.
    """

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self.folded = folded
        self.layers = nn.ModuleDict({_key(s.name): _layer(s) for s in folded.steps})
        names = [folded.input_name, *(s.name for s in folded.steps)]
        self.ranges = nn.ModuleDict({_key(name): Range(name) for name in names})

    def forward(self, x: Tensor) -> Tensor:
        values = {self.folded.input_name: self.range_of(self.folded.input_name)(x)}
        for step in self.folded.steps:
            y = self.layers[_key(step.name)](*(values[name] for name in step.inputs))
            values[step.name] = self.range_of(step.name)(y)
        return values[self.folded.output_name]

    def range_of(self, name: str) -> Range:
        found = self.ranges[_key(name)]
        assert isinstance(found, Range)
        return found

    def layer_of(self, step: Step) -> nn.Module:
        return self.layers[_key(step.name)]

    def all_ranges(self) -> Iterable[Range]:
        return (m for m in self.modules() if isinstance(m, Range))

    def observe(self, observing: bool, *, rounding: bool = True) -> None:
        """Let ranges move or hold them; without rounding the network is the float one."""
        for r in self.all_ranges():
            r.observing, r.rounding = observing, rounding

    def freeze(self) -> None:
        """Hold ranges and BatchNorm statistics, for the last epochs of training and for lowering."""
        self.observe(False)
        for module in self.modules():
            if isinstance(module, QuantConv):
                module.frozen = True


class _Pool(nn.Module):
    """3x3 mean with explicit zeros around, all counted."""

    def __init__(self, step: PoolStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        top, left, bottom, right = self.step.pads
        return F.avg_pool2d(F.pad(x, (left, right, top, bottom)), 3, self.step.stride)


class _Add(nn.Module):
    def __init__(self, step: AddStep) -> None:
        super().__init__()
        self.relu = step.relu

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.relu(a + b) if self.relu else a + b


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def _layer(step: Step) -> nn.Module:
    if isinstance(step, ConvStep):
        return QuantConv(step)
    if isinstance(step, PoolStep):
        return _Pool(step)
    if isinstance(step, AddStep):
        return _Add(step)
    if isinstance(step, GrnStep):
        return QuantGRN(step)
    assert isinstance(step, MeanStep)
    return _Mean()


def _key(name: str) -> str:
    """ModuleDict keys must not contain dots."""
    return name.replace(".", "/")


@torch.no_grad()
def calibrate(net: QuantNet, batches: Iterable[Tensor]) -> None:
    """Set every range from float activations of ``batches`` (batch, 1, mel, time), then freeze.

    Ranges are the extremes over all batches' moving average; the network rounds nothing while it looks.
    """
    net.eval()
    net.observe(True, rounding=False)
    seen = 0
    for batch in batches:
        net(batch)
        seen += len(batch)
    if not seen:
        raise ExportError("calibration", "no clips", next_step="give at least one labelled or unlabelled clip")
    net.freeze()
