"""The fake-quantised network: float arithmetic with every rounding the integer graph will make.

One class serves both ways to int8, :func:`tinyscene.export.quantise.ptq.calibrate` and
:func:`tinyscene.export.quantise.qat.quantise_aware`. Weights are rounded per output channel after BatchNorm is folded
into them, inside the forward pass, so that training sees the folded rounding. The network owns copies of the folded
modules: the float network it came from stays as it is. Refuses to round an activation whose range was never set.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.runtime.graph import Quant
from tinyscene.training.models.layers import GRN

from ..errors import ExportError
from .fold import AddStep, ConvStep, Folded, GrnStep, MeanStep, PoolStep, Step, folded_weight, norm_gain

LEVELS = 255  # steps between the lowest and the highest code
SMALLEST_SCALE = 1e-8  # dead channels of trained nets reach 1e-40, whose products vanish in float32
_SMALLEST_POWER = 1e-12


class Range(nn.Module):
    """The range of one activation and the rounding to its 256 codes, of which one is always exactly 0.

    ``low`` and ``high`` are set by calibration; training moves them by ``stretch``, the logarithms of two factors, so
    that one learning rate suits ranges of any size.
    """

    low: Tensor
    high: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.rounding = True
        self.register_buffer("low", torch.tensor(float("nan")))
        self.register_buffer("high", torch.tensor(float("nan")))
        self.stretch = nn.Parameter(torch.zeros(2))

    def set(self, low: float, high: float) -> None:
        """Take [low, high], widened to hold 0, as the range."""
        self.low.fill_(min(low, 0.0))
        self.high.fill_(max(high, 0.0))
        with torch.no_grad():
            self.stretch.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if not self.rounding:
            return x
        self.require_set()
        scale, zero_point = self.affine()
        if self.stretch.requires_grad and torch.is_grad_enabled():
            # Each step of the scale collects the errors of the whole tensor: dividing by the root of their number
            # keeps its pace that of the weights (Esser et al., "Learned step size quantization", 2020).
            pace = (x.numel() * 127) ** -0.5
            return torch._fake_quantize_learnable_per_tensor_affine(  # type: ignore[no-any-return,attr-defined]
                x, scale.reshape(1), zero_point.reshape(1), -128, 127, pace
            )
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point.to(torch.int32), -128, 127)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, both float32 0-d tensors that carry gradients; the zero point is integral."""
        low, high = self.low * self.stretch[0].exp(), self.high * self.stretch[1].exp()
        scale = ((high - low) / LEVELS).clamp(min=SMALLEST_SCALE)
        exact = -128.0 - low / scale
        return scale, exact + (exact.round().clamp(-128, 127) - exact).detach()

    def require_set(self) -> None:
        """Raise ExportError if the range was never set."""
        if torch.isnan(self.low):
            raise ExportError(f"activation '{self.name}'", "has no range", next_step="calibrate the network first")

    def quant(self) -> Quant:
        """The range in the graph's terms; raises ExportError if it was never set."""
        self.require_set()
        with torch.no_grad():
            scale, zero_point = self.affine()
        return Quant.per_tensor(float(scale), int(zero_point))


class QuantConv(nn.Module):
    """Convolution with BatchNorm folded in the forward pass and weights rounded to int8 codes.

    While statistics move, the batch's own mean and variance normalise, as in float training; they are taken from the
    folded convolution's output, so that one convolution is enough. Source of the scheme: Krishnamoorthi,
    "Quantizing deep convolutional networks for efficient inference", 2018, section 3.2.2.
    """

    fixed_scale: Tensor

    def __init__(self, step: ConvStep) -> None:
        super().__init__()
        self.step = step
        self.conv, self.norm = copy.deepcopy(step.conv), copy.deepcopy(step.norm)
        self.rounding = True
        self.frozen = False
        self.register_buffer("fixed_scale", torch.zeros(len(self.conv.weight)))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (O, I, kH, kW) and bias (O,) with the running statistics folded in, not rounded."""
        return folded_weight(self.conv, self.norm)

    def scale(self, weight: Tensor) -> Tensor:
        """Symmetric scale (O,): the one calibration fixed, else that which gives the largest magnitude code 127."""
        return torch.where(self.fixed_scale > 0, self.fixed_scale, nearest_scale(weight))

    def fix(self, weight: Tensor, bias: Tensor, scale: Tensor) -> None:
        """Take calibrated values, in which BatchNorm is folded for good. ``weight`` lies on the grid of ``scale``."""
        self.norm = None
        self.conv.weight.data.copy_(weight)
        self.conv.bias = nn.Parameter(bias.detach().clone())
        self.fixed_scale.copy_(scale)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.folded()
        if self.rounding:
            scale = self.scale(weight)
            zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
            weight = torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)
        y = self.convolve(x, weight)
        if self.norm is not None and self.training and not self.frozen:
            y = self._normalised(y, self.norm)
        else:
            y = y + bias[:, None, None]
        return torch.relu(y) if self.step.relu else y

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """This layer's convolution with another weight and no bias."""
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
        assert norm.momentum is not None
        if self.conv.bias is not None:
            batch_mean = batch_mean + self.conv.bias
        with torch.no_grad():
            norm.running_mean.lerp_(batch_mean, norm.momentum)
            norm.running_var.lerp_(batch_variance * count / max(count - 1, 1), norm.momentum)
        factor = norm.weight * torch.rsqrt(batch_variance + norm.eps) / safe
        return (y - mean[:, None, None]) * factor[:, None, None] + norm.bias[:, None, None]


def nearest_scale(weight: Tensor) -> Tensor:
    """Scale (O,) that gives the largest magnitude of each output channel code 127."""
    return weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=SMALLEST_SCALE) / 127.0


class QuantGRN(nn.Module):
    """GRN in the integer graph's steps, every intermediate in a range of its own.

    power = mean(x^2); norm = power * rsqrt(power); ratio = norm / mean(norm) by two products with rsqrt(mean);
    y = relu(x * (1 + gamma * ratio) + beta). Epsilon is below half a code and left out. With ReLU, ``scaled`` needs
    no codes below -beta. ``factor`` (channels or 1, 1, 1) multiplies the output's channels, at no cost: gain and beta
    hold it (:mod:`tinyscene.export.quantise.equalise`).
    """

    factor: Tensor

    STATISTICS = ("power", "inverse_norm", "norm", "total", "inverse_root", "half_ratio", "ratio", "gain")

    def __init__(self, step: GrnStep) -> None:
        super().__init__()
        self.step = step
        self.grn: GRN = copy.deepcopy(step.grn)
        self.register_buffer("factor", torch.ones(1, 1, 1))
        stages = ("square", *self.STATISTICS, "scaled")
        self.ranges = nn.ModuleDict({stage: Range(f"{step.name}.{stage}") for stage in stages})

    def forward(self, x: Tensor) -> Tensor:
        scaled = self.scaled(x, self.statistics(self.power(x))["gain"])
        y = self.ranges["scaled"](scaled) + self.grn.beta * self.factor
        return torch.relu(y) if self.step.relu else y

    def power(self, x: Tensor) -> Tensor:
        """Mean square (batch, channels, 1, 1) before it is rounded."""
        square: Tensor = self.ranges["square"](x * x)
        return square.mean(dim=(2, 3), keepdim=True)

    def statistics(self, power: Tensor) -> dict[str, Tensor]:
        """Every stage from ``power`` to ``gain``, rounded."""
        r, v = self.ranges, {"power": self.ranges["power"](power)}
        v["inverse_norm"] = r["inverse_norm"](_rsqrt(v["power"]))
        v["norm"] = r["norm"](v["power"] * v["inverse_norm"])
        v["total"] = r["total"](v["norm"].mean(dim=1, keepdim=True))
        v["inverse_root"] = r["inverse_root"](_rsqrt(v["total"]))
        v["half_ratio"] = r["half_ratio"](v["norm"] * v["inverse_root"])
        v["ratio"] = r["ratio"](v["half_ratio"] * v["inverse_root"])
        v["gain"] = r["gain"](self.factor * (1.0 + self.grn.gamma * v["ratio"]))
        return v

    def scaled(self, x: Tensor, gain: Tensor) -> Tensor:
        """x * gain before it is rounded; what ReLU cuts off behind beta is cut off here already."""
        y = x * gain
        return torch.maximum(y, -self.grn.beta * self.factor) if self.step.relu else y


def _rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x); beyond any range for 0, which int8 maps to the largest code."""
    return torch.rsqrt(x.clamp(min=_SMALLEST_POWER))


class QuantNet(nn.Module):
    """The folded network with a :class:`Range` behind every activation.

    Takes float32 (batch, 1, mel, time), gives logits (batch, classes). Trains like any module once ranges are set.
    """

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self.folded = folded
        self.layers = nn.ModuleDict({_key(s.name): _layer(s) for s in folded.steps})
        names = [folded.input_name, *(s.name for s in folded.steps)]
        self.ranges = nn.ModuleDict({_key(name): Range(name) for name in names})
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.activations(x)[self.folded.output_name]

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Every step's rounded output by name, the input's included."""
        values = {self.folded.input_name: self.range_of(self.folded.input_name)(x)}
        for step in self.folded.steps:
            y = self.layers[_key(step.name)](*(values[name] for name in step.inputs))
            values[step.name] = self.range_of(step.name)(y)
        return values

    def range_of(self, name: str) -> Range:
        found = self.ranges[_key(name)]
        assert isinstance(found, Range)
        return found

    def layer_of(self, step: Step) -> nn.Module:
        return self.layers[_key(step.name)]

    def all_ranges(self) -> Iterable[Range]:
        return (m for m in self.modules() if isinstance(m, Range))

    def round(self, rounding: bool) -> None:
        """Without rounding the network computes what the float one does."""
        for module in self.modules():
            if isinstance(module, Range | QuantConv):
                module.rounding = rounding

    def freeze(self, frozen: bool = True) -> None:
        """Hold ranges and BatchNorm statistics, for the last epochs of training and for lowering; or let them move."""
        for module in self.modules():
            if isinstance(module, QuantConv):
                module.frozen = frozen
            elif isinstance(module, Range):
                module.stretch.requires_grad_(not frozen)


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
