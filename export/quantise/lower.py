"""Lower the fake-quantised network to the integer graph: ranges become scales, weights become codes.

BatchNorm is folded into the weights with its running statistics; GRN becomes eleven int8 operators; a 3x3 mean that
counts its padding becomes a depthwise convolution with weights of 1/9. The graph is checked before it is returned.
Refuses activations without a range and weights that are not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from tinyscene.runtime import ops
from tinyscene.runtime.arith import conv_rescale, mean_single, quantise, requantise, rescale_cut
from tinyscene.runtime.arrays import F32
from tinyscene.runtime.graph import OUTPUT_NAME, Graph, Node, Quant, Tensor
from tinyscene.runtime.ops import Shape

from ..errors import ExportError
from .activation_range import SMALLEST_SCALE, Range
from .fake_quant import QuantConv, QuantGRN, QuantNet
from .float_steps import ConvStep, FunctionStep, GrnStep, LstmStep, OpStep, PoolStep, Step
from .quant_lstm import QuantLstm, gate_scales
from .quant_op import QuantFunction, QuantOp

_BIAS_LIMIT = 2**30  # codes; half of int32 is left for the sum of products


@dataclass(frozen=True, eq=False)
class _Weights:
    """Weight (OHWI, 1HWC or (O, K)) and bias (O,) of a convolution or matrix product: float32, not yet quantised.

    Without ``scale`` (O,) the largest magnitude of a channel gets code 127. ``factor`` (O,) multiplies the channels of
    weight and bias by way of their scales, so that equal channels keep equal codes.
    """

    weight: F32
    bias: F32
    scale: F32 | None = None
    factor: F32 | None = None


def lower(net: QuantNet, *, name: str, labels: tuple[str, ...]) -> Graph:
    """The checked integer graph of a calibrated or trained network; an only output is called :data:`OUTPUT_NAME`.

    Raises:
        ExportError: an activation has no range, or a weight is not finite. RuntimeFailure: the graph is not valid.
    """
    return _Lowering(net.eval()).graph(name, labels)


class _Lowering:
    """Appends the tensors and nodes of one step after the other."""

    def __init__(self, net: QuantNet) -> None:
        self.net = net
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        for source in net.folded.input_names:
            self._tensor(source, net.folded.shapes[source], net.range_of(source).quant())

    @torch.no_grad()
    def graph(self, name: str, labels: tuple[str, ...]) -> Graph:
        for step in self.net.folded.steps:
            self.step(step)
        folded = self.net.folded
        outputs = tuple(map(self.tensor_name, folded.output_names))
        return Graph(name, self.tensors, tuple(self.nodes), folded.input_names, outputs, labels).check()

    def step(self, step: Step) -> None:
        inputs = tuple(self.tensor_name(name) for name in step.inputs)
        output, quant = self.tensor_name(step.name), self.net.range_of(step.name).quant()
        if isinstance(step, ConvStep):
            self.conv(step, inputs[0], output, quant)
        elif isinstance(step, PoolStep):
            share = np.full((1, *step.kernel, step.channels), 1 / step.divisor, np.float32)
            op = ops.DepthwiseConv2D(step.stride, step.pads)
            weights = _Weights(share, np.zeros(step.channels, np.float32))
            self.weighted(step.name, op, inputs[0], weights, output, quant)
        elif isinstance(step, GrnStep):
            self.grn(step, inputs[0], output, quant)
        elif isinstance(step, LstmStep):
            self.lstm(step, inputs[0], output, quant)
        elif isinstance(step, FunctionStep):
            self.function(step, inputs[0], output, quant)
        else:
            self.op(step, output, quant)

    def tensor_name(self, name: str) -> str:
        return OUTPUT_NAME if (name,) == self.net.folded.output_names else name

    def _tensor(self, name: str, shape: Shape, quant: Quant, data: np.ndarray | None = None) -> str:
        is_bias = data is not None and data.dtype == np.int32
        self.tensors[name] = Tensor(name, shape, "int32" if is_bias else "int8", quant, data)
        return name

    def node(self, name: str, op: ops.Op, inputs: tuple[str, ...], shape: Shape, output: str, quant: Quant) -> str:
        sources = [self.tensors[source] for source in inputs]
        if isinstance(op, ops.Mul) and inputs[0] != inputs[1]:
            quant = product_without_ties(sources[0].quant, sources[1].quant, quant)
        elif isinstance(op, ops.Reduce) and op.kind == "mean":
            count = math.prod(sources[0].shape[axis] for axis in op.axes)
            quant = mean_without_ties(sources[0].quant, quant, count)
        self._tensor(output, shape, quant)
        self.nodes.append(Node(name, op, inputs, output))
        return output

    def op(self, step: OpStep, output: str, quant: Quant) -> str:
        """One op; the codes of constants are those that the fake-quantised network rounds them to."""
        layer = self.net.layer_of(step)
        assert isinstance(layer, QuantOp)
        for (name, _), value, r in zip(step.constants(), layer.constants, layer.ranges, strict=True):
            assert isinstance(r, Range)
            own = r.quant() if layer.rounds_constants else quant
            self._tensor(name, tuple(value.shape), own, quantise(value.cpu().numpy(), own))
        inputs = tuple(
            self.tensor_name(operand) if isinstance(operand, str) else step.constant_name(position)
            for position, operand in enumerate(step.operands)
        )
        op, shape = step.op, self.net.folded.shapes[step.name]
        if step.name in self.net.shared:
            quant = self.tensors[inputs[0]].quant
        if isinstance(op, ops.Pad):
            op = replace(op, code=quant.zero_point)
        if isinstance(op, ops.Concat | ops.Extremum):
            inputs = tuple(self.requantised(x, quant, f"{step.name}.input{i}") for i, x in enumerate(inputs))
        return self.node(step.name, op, inputs, shape, output, quant)

    def requantised(self, x: str, quant: Quant, name: str) -> str:
        """Tensor ``x`` with another scale and zero point."""
        source = self.tensors[x]
        return (
            x if source.quant == quant else self.node(name, ops.Lookup("requantise"), (x,), source.shape, name, quant)
        )

    def function(self, step: FunctionStep, x: str, output: str, quant: Quant) -> str:
        layer, source = self.net.layer_of(step), self.tensors[x]
        assert isinstance(layer, QuantFunction)
        table = self._tensor(f"{step.name}.table", (256,), quant, layer.codes(source.quant, quant))
        return self.node(step.name, ops.Table(), (x, table), source.shape, output, quant)

    def conv(self, step: ConvStep, x: str, output: str, quant: Quant) -> None:
        layer = self.net.layer_of(step)
        assert isinstance(layer, QuantConv)
        weight, bias = layer.folded()
        scale = layer.scale(weight).cpu().numpy()
        if step.rows:
            rows = weight[:, :, 0, 0].cpu().numpy()
            weights = _Weights(rows, bias.cpu().numpy(), scale)
            self.weighted(step.name, ops.FullyConnected(step.relu), x, weights, output, quant)
            return
        weights = _Weights(_codes_layout(weight, step), bias.cpu().numpy(), scale)
        self.weighted(step.name, _window_op(step), x, weights, output, quant)

    def weighted(
        self,
        name: str,
        op: ops.Conv2D | ops.DepthwiseConv2D | ops.TransposeConv2D | ops.FullyConnected,
        x: str,
        weights: _Weights,
        output: str,
        quant: Quant,
    ) -> str:
        """Quantise weight and bias per output channel and append the convolution or matrix product."""
        axis = 3 if isinstance(op, ops.DepthwiseConv2D) else 0
        source, weight, bias, factor = self.tensors[x], weights.weight, weights.bias, weights.factor
        _require_finite(name, weight, bias)
        others = tuple(a for a in range(weight.ndim) if a != axis)
        s_x = np.float32(source.quant.scale[0])
        # A channel with weights far smaller than its bias takes its scale from the bias, which must fit int32.
        own_scale = np.abs(weight).max(axis=others) / 127 if weights.scale is None else weights.scale
        scale = np.maximum(own_scale, np.abs(bias) / (s_x * np.float32(_BIAS_LIMIT)))
        scale = np.maximum(scale, np.float32(SMALLEST_SCALE)).astype(np.float32)
        along = scale.reshape([-1 if a == axis else 1 for a in range(weight.ndim)])
        codes = np.clip(np.rint(weight / along), -127, 127).astype(np.int8)
        bias_codes = np.rint(bias.astype(np.float64) / (s_x * scale)).astype(np.int32)
        if factor is not None:
            scale = np.maximum(scale * factor, np.float32(SMALLEST_SCALE)).astype(np.float32)
        bias_scale = s_x * scale
        w = self._tensor(f"{name}.weight", codes.shape, Quant.per_channel(scale, axis), codes)
        b = self._tensor(f"{name}.bias", bias_codes.shape, Quant.per_channel(bias_scale, 0), bias_codes)
        shape = ops.OPS[type(op)].shape(op, source.shape, codes.shape, bias_codes.shape)
        return self.node(name, op, (x, w, b), shape, output, quant)

    def grn(self, step: GrnStep, x: str, output: str, quant: Quant) -> None:
        layer = self.net.layer_of(step)
        assert isinstance(layer, QuantGRN)
        channels = self.tensors[x].shape[3]
        per_channel, one = (1, 1, 1, channels), (1, 1, 1, 1)

        def append(stage: str, op: ops.Op, *inputs: str, shape: Shape) -> str:
            name = f"{step.name}.{stage}"
            return self.node(name, op, inputs, shape, name, layer.range_of(stage).quant())

        square = append("square", ops.Mul(), x, x, shape=self.tensors[x].shape)
        power = append("power", ops.Reduce("mean", ops.SPACE), square, shape=per_channel)
        inverse_norm = append("inverse_norm", ops.Rsqrt(), power, shape=per_channel)
        norm = append("norm", ops.Mul(), power, inverse_norm, shape=per_channel)
        total = append("total", ops.Reduce("mean", (3,)), norm, shape=one)
        inverse_root = append("inverse_root", ops.Rsqrt(), total, shape=one)
        half_ratio = append("half_ratio", ops.Mul(), norm, inverse_root, shape=per_channel)
        ratio = append("ratio", ops.Mul(), half_ratio, inverse_root, shape=per_channel)
        factor: F32 = np.broadcast_to(layer.factor.flatten().cpu().numpy(), channels)
        identity, ones = np.ones(per_channel, np.float32), np.ones(channels, np.float32)
        gamma, gain_name = np.float32(float(layer.grn.gamma)) * identity, f"{step.name}.gain"
        gain_weights, gain_quant = _Weights(gamma, ones, factor=factor), layer.range_of("gain").quant()
        gain = self.weighted(gain_name, ops.DepthwiseConv2D(), ratio, gain_weights, gain_name, gain_quant)
        scaled = append("scaled", ops.Mul(), x, gain, shape=self.tensors[x].shape)
        beta = _Weights(identity, np.float32(float(layer.grn.beta)) * factor)
        self.weighted(step.name, ops.DepthwiseConv2D(relu=step.relu), scaled, beta, output, quant)

    def lstm(self, step: LstmStep, x: str, output: str, quant: Quant) -> None:
        """Weights with a scale for each gate, which is that of the biases too, as for the channels of a convolution."""
        layer, source = self.net.layer_of(step), self.tensors[x]
        assert isinstance(layer, QuantLstm)
        bias = layer.bias.cpu().numpy()
        of_bias = np.abs(bias).max(axis=1) / (np.float32(source.quant.scale[0]) * np.float32(_BIAS_LIMIT))
        names = []
        for part, weight, least in (("weight", layer.weight, of_bias), ("recurrent", layer.recurrent, np.zeros(4))):
            _require_finite(step.name, weight.cpu().numpy(), bias)
            scale = np.maximum(gate_scales(weight).cpu().numpy(), least).astype(np.float32)
            codes = np.clip(np.rint(weight.cpu().numpy() / scale[:, None, None]), -127, 127).astype(np.int8)
            names.append(self._tensor(f"{step.name}.{part}", codes.shape, Quant.per_channel(scale, 0), codes))
        bias_scale = np.float32(source.quant.scale[0]) * np.asarray(self.tensors[names[0]].quant.scale, np.float32)
        bias_codes = np.rint(bias.astype(np.float64) / bias_scale[:, None]).astype(np.int32)
        b = self._tensor(f"{step.name}.bias", bias.shape, Quant.per_channel(bias_scale, 0), bias_codes)
        shape = self.net.folded.shapes[step.name]
        self.node(step.name, ops.Lstm(layer.cell_bits()), (x, *names, b), shape, output, quant)


def _require_finite(name: str, weight: F32, bias: F32) -> None:
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ExportError(f"layer '{name}'", "weights are not finite", next_step="use another checkpoint")


def _avoid_ties(out: Quant, unambiguous: Callable[[Quant], bool]) -> Quant:
    """The output's quantisation with its scale increased by as few float32 steps as make all codes unambiguous.

    A value so close to a tie that float32 represents it as one may get different codes on arm64 and on x86-64, where
    XNNPACK rounds products and means in different ways. Squares are table look-ups on both and need no change.
    """
    scale = np.float32(out.scale[0])
    while not unambiguous(moved := Quant.per_tensor(float(scale), out.zero_point)):
        scale = np.nextafter(scale, np.float32(np.inf))
    return moved


def product_without_ties(a: Quant, b: Quant, out: Quant) -> Quant:
    """See :func:`_avoid_ties`; for every product of two codes."""
    codes = np.arange(-128, 128)
    products = np.multiply.outer(codes - a.zero_point, codes - b.zero_point)

    def unambiguous(moved: Quant) -> bool:
        rescale = conv_rescale(a, b, moved)
        cut = np.clip(rescale_cut(products, rescale.factor) + out.zero_point, -128, 127)
        return np.array_equal(cut, requantise(products, rescale, moved, relu=False, rounding="single"))

    return _avoid_ties(out, unambiguous)


def mean_without_ties(x: Quant, out: Quant, count: int) -> Quant:
    """See :func:`_avoid_ties`; for every sum of ``count`` codes."""
    totals = np.arange(-128 * count, 127 * count + 1)

    def unambiguous(moved: Quant) -> bool:
        rule = mean_single(x, moved, count)
        return np.array_equal(rule.codes(totals), rule.codes_of_one_rounding(totals))

    return _avoid_ties(out, unambiguous)


def _window_op(step: ConvStep) -> ops.Conv2D | ops.DepthwiseConv2D | ops.TransposeConv2D:
    if step.transposed is not None:
        return replace(step.transposed, relu=step.relu)
    stride = (int(step.conv.stride[0]), int(step.conv.stride[1]))
    dilation = (int(step.conv.dilation[0]), int(step.conv.dilation[1]))
    if step.depthwise:
        return ops.DepthwiseConv2D(stride, step.pads, step.relu, dilation)
    return ops.Conv2D(stride, step.pads, step.relu, dilation, step.conv.groups)


def _codes_layout(weight: torch.Tensor, step: ConvStep) -> F32:
    """(O, I, kH, kW) to OHWI, or to 1HWC for a depthwise convolution, float32."""
    array: F32 = weight.detach().cpu().float().numpy()
    return np.ascontiguousarray(array.transpose(1, 2, 3, 0) if step.depthwise else array.transpose(0, 2, 3, 1))
