"""The fake-quantised network: float arithmetic with every rounding of the integer graph.

Post-training quantisation and quantisation-aware training use the same network. Weights are rounded per output channel
after BatchNorm is folded into them, inside the forward pass, so that training includes the rounding of folded weights.
The network owns copies of the folded modules: the float network is not changed. Refuses to round an activation whose
range is not set.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.runtime.op_ranges import fixed_codes
from tinyscene.runtime.ops import Shape
from tinyscene.training.models.layers import GRN

from .activation_range import SMALLEST_SCALE, Range, limited_relu
from .float_steps import (
    ConvStep,
    Folded,
    FunctionStep,
    GrnStep,
    LstmStep,
    OpStep,
    PoolStep,
    Step,
    folded_weight,
    norm_gain,
)
from .quant_lstm import QuantLstm
from .quant_op import QuantFunction, QuantOp, shares_range
from .simulate.windows import transposed_convolution

_SMALLEST_POWER = 1e-12


class QuantConv(nn.Module):
    """Convolution with BatchNorm folded in the forward pass and weights rounded to int8 codes.

    Until it is frozen, mean and variance of the batch normalise, as in float training; they are computed from the
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
        """Symmetric scale (O,): fixed by calibration, otherwise the one that gives the largest magnitude code 127."""
        return torch.where(self.fixed_scale > 0, self.fixed_scale, nearest_scale(weight))

    def fix(self, weight: Tensor, bias: Tensor, scale: Tensor) -> None:
        """Replace weight, bias and BatchNorm by calibrated values. ``weight`` is on the grid of ``scale`` (O,)."""
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
        images = self.images(x)
        y = self.convolve(images, weight)
        if self.norm is not None and self.training and not self.frozen:
            y = self._normalised(y, self.norm)
        else:
            y = y + bias[:, None, None]
        y = limited_relu(y, self.step.ceiling) if self.step.relu else y
        return y if images is x else y.reshape(*x.shape[:-1], -1)

    def images(self, x: Tensor) -> Tensor:
        """The layer's input as (batch, channels, height, width); each row of fewer axes is an image of one position."""
        return x if x.ndim == 4 else x.reshape(-1, x.shape[-1], 1, 1)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """This layer's convolution with another weight and no bias."""
        if self.step.transposed is not None:
            return transposed_convolution(self.step.transposed, x, weight)
        top, left, bottom, right = self.step.pads
        if (top, left) != (bottom, right):
            x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
        return F.conv2d(x, weight, None, self.conv.stride, (top, left), self.conv.dilation, self.conv.groups)

    def _normalised(self, y: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """BatchNorm of the unfolded output y / gain with this batch's statistics; updates the running statistics."""
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
    """GRN as the operators of the integer graph, each intermediate with its own range.

    power = mean(x^2); norm = power * rsqrt(power); ratio = norm / mean(norm) as two products with rsqrt(mean);
    y = relu(x * (1 + gamma * ratio) + beta). Epsilon is below half a code and left out. With ReLU, ``scaled`` needs
    no codes below -beta. ``factor`` (channels or 1, 1, 1) multiplies the channels of the output at no cost: gain and
    beta include it (:mod:`tinyscene.export.quantise.equalise`).
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

    def range_of(self, stage: str) -> Range:
        r = self.ranges[stage]
        assert isinstance(r, Range)
        return r

    def round_stages(self, rounding: bool) -> None:
        """Round every intermediate, or none."""
        for stage in self.ranges:
            self.range_of(stage).rounding = rounding

    def forward(self, x: Tensor) -> Tensor:
        scaled = self.scaled(x, self.statistics(self.power(x))["gain"])
        y: Tensor = self.ranges["scaled"](scaled) + self.grn.beta * self.factor
        return limited_relu(y, self.step.ceiling) if self.step.relu else y

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
        """x * gain before it is rounded, clamped to the values that ReLU keeps after beta is added."""
        y = x * gain
        return torch.maximum(y, -self.grn.beta * self.factor) if self.step.relu else y


def _rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x); for 0 a value beyond any range, which int8 maps to the largest code."""
    return torch.rsqrt(x.clamp(min=_SMALLEST_POWER))


class QuantNet(nn.Module):
    """The folded network with a :class:`Range` after every activation.

    Maps the float network's inputs to its only output, in the graph's axes. Trains like any module once ranges are set.
    """

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        self.folded = folded
        self.layers = nn.ModuleDict({_key(s.name): _layer(s, folded.shapes) for s in folded.steps})
        self.ranges = nn.ModuleDict({_key(name): Range(name) for name in folded.input_names})
        self.shared: dict[str, str] = {}  # the tensor whose range a step's output has, if it keeps codes
        for step in folded.steps:
            sources = {self.shared.get(name, name) for name in step.inputs}
            if isinstance(step, OpStep) and shares_range(step) and len(sources) == 1:
                (self.shared[step.name],) = sources
            else:
                self.ranges[_key(step.name)] = _output_range(step, self.layer_of(step))
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor:
        (output,) = self.folded.output_names
        return self.activations(*inputs)[output]

    def stored_inputs(self, inputs: Iterable[Tensor]) -> dict[str, Tensor]:
        """The inputs by name with the axes of the graph's: a sequence (batch, C, T) is an image of height 1."""
        shapes = self.folded.shapes
        named = zip(self.folded.input_names, inputs, strict=True)
        return {name: x[:, :, None] if x.ndim == 3 and len(shapes[name]) == 4 else x for name, x in named}

    def activations(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The rounded output of every step, and the rounded inputs, by name."""
        values = {name: self.range_of(name)(x) for name, x in self.stored_inputs(inputs).items()}
        for step in self.folded.steps:
            y = self.layers[_key(step.name)](*(values[name] for name in step.inputs))
            values[step.name] = self.range_of(step.name)(y)
        return values

    def range_of(self, name: str) -> Range:
        r = self.ranges[_key(self.shared.get(name, name))]
        assert isinstance(r, Range)
        return r

    def is_free(self, name: str) -> bool:
        """Whether the range of a step's output is its own, and not fixed."""
        return name not in self.shared and not self.range_of(name).fixed

    def layer_of(self, step: Step) -> nn.Module:
        return self.layers[_key(step.name)]

    def all_ranges(self) -> Iterator[Range]:
        return (m for m in self.modules() if isinstance(m, Range))

    def round(self, rounding: bool) -> None:
        """Turn all rounding on or off. Without rounding the network computes the float network's function."""
        for module in self.modules():
            if isinstance(module, Range | QuantConv | QuantLstm):
                module.rounding = rounding

    def freeze(self, frozen: bool = True) -> None:
        """Freeze ranges and BatchNorm statistics, for the last epochs of training and for lowering; or release them."""
        for module in self.modules():
            if isinstance(module, QuantConv):
                module.frozen = frozen
            elif isinstance(module, Range) and not module.fixed:
                module.stretch.requires_grad_(not frozen)


class _Pool(nn.Module):
    """Sum of a window with its zero padding over a divisor."""

    def __init__(self, step: PoolStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        top, left, bottom, right = self.step.pads
        return F.avg_pool2d(
            F.pad(x, (left, right, top, bottom)), self.step.kernel, self.step.stride, divisor_override=self.step.divisor
        )


def _layer(step: Step, shapes: Mapping[str, Shape]) -> nn.Module:
    if isinstance(step, ConvStep):
        return QuantConv(step)
    if isinstance(step, PoolStep):
        return _Pool(step)
    if isinstance(step, GrnStep):
        return QuantGRN(step)
    if isinstance(step, LstmStep):
        return QuantLstm(step)
    if isinstance(step, FunctionStep):
        return QuantFunction(step)
    return QuantOp(step, shapes)


def _output_range(step: Step, layer: nn.Module) -> Range:
    if isinstance(layer, QuantLstm):
        return layer.hidden
    fixed = fixed_codes(step.op) if isinstance(step, OpStep) else None
    return Range(step.name, fixed=fixed, ceiling=getattr(step, "ceiling", None))


def _key(name: str) -> str:
    """ModuleDict keys must not contain dots."""
    return name.replace(".", "/")
