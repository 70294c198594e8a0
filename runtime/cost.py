"""Cost of a network: parameters, multiply-accumulates and bytes per layer, by published counting rules.

Counts depend on the rule: the same network has 29.4 or 30.2 million MACs. Every :class:`Cost` therefore has its rule,
and :data:`RULES` describes them. Every source of a network (graph, checkpoint, ONNX, TFLite) is converted to a list of
:class:`Layer`, so that each rule is implemented once.
Refuses unknown rules, limits that are not numbers, and graphs with an op that has no row here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import ops
from .errors import RuntimeFailure
from .graph import Graph, Node
from .spec import Budget

Rule = Literal["dcase", "torchinfo", "nessi", "stored"]
Array = npt.NDArray[Any]
Kind = Literal[
    "conv", "deconv", "linear", "norm", "scalar", "mean", "pool", "add", "mul", "matmul", "other", "uncounted"
]

RULES: dict[Rule, str] = {
    "dcase": "MACs: (weights + bias) x output positions of convolutions and linear layers, 2 per BatchNorm channel, "
    "else 0. Bytes: every weight and bias as stored (int8 1 B, int32 and float32 4 B)",
    "torchinfo": "MACs as torchinfo prints them: the dcase rule, but a linear layer once for all its rows. Bytes: 4 "
    "per parameter, whatever is stored",
    "nessi": "MACs as NeSsi counts a TFLite file: convolutions and linear layers without bias, pooled and averaged "
    "elements, sums; else 0. Bytes: every constant that an op reads",
    "stored": "MACs: every multiplication of data that is carried out, without bias. Bytes: all that the file, or the "
    "graph with its scales and tables, takes",
}

_SIZE_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2}
_COUNT_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


@dataclass(frozen=True)
class Layer:
    """One op of any source, in the terms that the rules need.

    ``positions`` are the output elements per channel, ``input_positions`` those of the input; ``weights`` and
    ``biases`` count constants, of which ``repeated`` belong to an earlier layer too; ``constant_bytes`` are the stored
    bytes of the others, ``extra_bytes`` scales, zero points and tables. ``input_elements`` and ``output_elements`` are
    for one clip. Kind ``scalar`` is a depthwise convolution with equal weights in all channels and taps: a pool, or
    GRN's gamma and beta as integer engines run them; a scale per channel is allowed, since it belongs to the next
    layer's weights. Rules that do not count those give it no MACs. No rule has MACs for kind ``uncounted``.
    """

    name: str
    op: str
    kind: Kind
    output_shape: tuple[int, ...]
    positions: int = 1
    weights: int = 0
    biases: int = 0
    constant_bytes: int = 0
    extra_bytes: int = 0
    input_elements: int = 0
    output_elements: int = 0
    window: int = 1  # input elements per output of a pool or a product of activations, or taps of a scalar convolution
    input_positions: int = 1
    repeated: int = 0

    @property
    def parameters(self) -> int:
        """Independent parameters: one (gamma or beta) for a 1x1 scalar convolution, none for a pool."""
        if self.kind == "scalar":
            return 1 if self.window == 1 and not self.repeated else 0
        return self.weights + self.biases - self.repeated


@dataclass(frozen=True)
class LayerCost:
    """One row of the table."""

    name: str
    op: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    n_bytes: int
    counted: bool = True


@dataclass(frozen=True)
class Cost:
    """Costs of all layers by one rule.

    ``source``: what was counted; ``frame_bytes``: bytes that belong to no layer; ``notes``: what the reader assumed.
    """

    rule: Rule
    source: str
    layers: tuple[LayerCost, ...]
    frame_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Layers whose MACs no rule counts, by name and op; parameters and bytes include theirs."""
        return tuple(f"'{layer.name}' ({layer.op})" for layer in self.layers if not layer.counted)

    @property
    def n_bytes(self) -> int:
        return self.frame_bytes + sum(layer.n_bytes for layer in self.layers)


@dataclass(frozen=True)
class Verdict:
    """One limit and the measured value, which lacks the layers ``uncounted``: with one, no limit is known to hold."""

    limit_name: Literal["size", "macs"]
    limit: int
    measured: int
    unit: str
    rule: Rule
    uncounted: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.measured <= self.limit and not self.uncounted


def require_rule(name: str) -> Rule:
    """The rule of that name; raises RuntimeFailure with the names of all rules."""
    for rule in RULES:
        if rule == name:
            return rule
    raise RuntimeFailure(
        f"rule '{name}'", "unknown counting rule", expected=" | ".join(RULES), next_step="choose one of these"
    )


def count(layers: Iterable[Layer], rule: Rule, *, source: str, file_bytes: int | None = None) -> Cost:
    """Apply a rule to the layers of one network.

    Args:
        source: description of what was counted.
        file_bytes: size of the file of the layers; under ``stored`` it is the total.
    """
    rows = tuple(
        LayerCost(
            x.name, x.op, x.output_shape, x.parameters, _MACS[rule](x), _BYTES[rule](x), counted=x.kind != "uncounted"
        )
        for x in layers
    )
    in_layers = sum(row.n_bytes for row in rows)
    frame_bytes = file_bytes - in_layers if rule == "stored" and file_bytes is not None else 0
    return Cost(rule, source, rows, frame_bytes)


def verdicts(cost: Cost, budget: Budget) -> tuple[Verdict, Verdict]:
    """Size and MACs against the budget."""
    return (
        Verdict("size", budget.max_bytes, cost.n_bytes, "B", cost.rule),
        Verdict("macs", budget.max_macs, cost.macs, "MAC", cost.rule, cost.uncounted),
    )


def _macs_dcase(x: Layer) -> int:
    if x.kind in ("conv", "deconv", "linear"):
        return (x.weights + x.biases) * x.positions
    return x.parameters if x.kind == "norm" else 0


def _macs_torchinfo(x: Layer) -> int:
    return x.weights + x.biases if x.kind == "linear" else _macs_dcase(x)


def _macs_nessi(x: Layer) -> int:
    if x.kind in ("conv", "linear", "scalar"):
        return x.weights * x.positions
    by_kind = {"mean": x.input_elements, "pool": x.output_elements * x.window, "add": x.output_elements}
    return by_kind.get(x.kind, 0)


def _macs_stored(x: Layer) -> int:
    if x.kind == "norm":
        return x.output_elements
    if x.kind in ("mul", "matmul"):
        return x.output_elements * x.window
    if x.kind == "deconv":
        return x.weights * x.input_positions
    return x.weights * x.positions if x.kind in ("conv", "linear", "scalar") else 0


def _constants(x: Layer) -> int:
    return x.constant_bytes if x.weights or x.biases else 0


_MACS: dict[Rule, Callable[[Layer], int]] = {
    "dcase": _macs_dcase,
    "torchinfo": _macs_torchinfo,
    "nessi": _macs_nessi,
    "stored": _macs_stored,
}
_BYTES: dict[Rule, Callable[[Layer], int]] = {
    "dcase": _constants,
    "torchinfo": lambda x: 4 * x.parameters,
    "nessi": lambda x: x.constant_bytes,
    "stored": lambda x: x.constant_bytes + x.extra_bytes,
}


def graph_cost(graph: Graph, rule: Rule) -> Cost:
    """Cost of an integer graph, BatchNorm folded. Under ``stored``: constants, scales, zero points, tables."""
    return count(graph_layers(graph), rule, source=f"integer graph '{graph.name}', BatchNorm folded")


def graph_layers(graph: Graph) -> list[Layer]:
    """One layer per node; raises RuntimeFailure for an op without a row in the cost table."""
    layers: list[Layer] = []
    stored: set[str] = set()
    for node in graph.nodes:
        if type(node.op) not in _KINDS:
            raise RuntimeFailure(f"graph '{graph.name}', {node.name}", "no row in the cost table", got=node.op)
        repeated = [t.data for t in graph.ins(node) if t.data is not None and t.name in stored]
        layer = _graph_layer(graph, node)
        if ops.has_weight(node.op) or isinstance(node.op, ops.Lstm):
            layer = counted_once(layer, sum(data.size for data in repeated), sum(data.nbytes for data in repeated))
        layers.append(layer)
        stored |= set(node.inputs)
    return layers


_KINDS: dict[type, Kind] = {
    ops.Conv2D: "conv",
    ops.DepthwiseConv2D: "conv",
    ops.TransposeConv2D: "deconv",
    ops.FullyConnected: "linear",
    ops.BatchMatMul: "matmul",
    ops.Add: "add",
    ops.Sub: "add",
    ops.Mul: "mul",
    ops.SquaredDifference: "mul",
    ops.Extremum: "other",
    ops.Reduce: "mean",
    ops.Pool2D: "pool",
    ops.Rsqrt: "other",
    ops.PRelu: "mul",
    ops.Lookup: "other",
    ops.Table: "other",
    ops.Softmax: "other",
    ops.LogSoftmax: "other",
    ops.L2Norm: "mul",
    ops.Lstm: "linear",
    ops.Reshape: "other",
    ops.Transpose: "other",
    ops.Pad: "other",
    ops.Slice: "other",
    ops.Resize: "other",
    ops.Concat: "other",
}
_TABLE_BYTES: dict[type, int] = {
    ops.Rsqrt: 256,
    ops.Lookup: 256,
    ops.Table: 256,
    ops.Softmax: 1024,
    ops.LogSoftmax: 2048,
    ops.Lstm: 512,
}
_ACTIVATION_QUANT_BYTES = 5  # float32 scale and int8 zero point


def _graph_layer(graph: Graph, node: Node) -> Layer:
    ins, out = graph.ins(node), graph.out(node)
    extra = _ACTIVATION_QUANT_BYTES + _TABLE_BYTES.get(type(node.op), 0)
    name, kind = type(node.op).__name__, _KINDS[type(node.op)]
    if isinstance(node.op, ops.Reduce):  # NeSsi counts means, and no other reduction
        name, kind = ops.title(node.op).title(), "mean" if node.op.kind == "mean" else "other"
    if isinstance(node.op, ops.Lstm):
        both = np.concatenate([tensor.data.ravel() for tensor in ins[1:3] if tensor.data is not None])
        extra += 4 * sum(len(tensor.quant.scale) for tensor in ins[1:3])
        x, bias = ins[0].shape, ins[3].data
        return layer_of(node.name, name, kind, out.shape, input_shape=x, weight=both, bias=bias, extra_bytes=extra)
    if not ops.has_weight(node.op):
        window = int(np.prod(node.op.kernel)) if isinstance(node.op, ops.Pool2D) else 1
        if isinstance(node.op, ops.BatchMatMul):
            window = ops.matrix(ins[0].shape, node.op.adj_x)[1]
        return layer_of(node.name, name, kind, out.shape, input_shape=ins[0].shape, window=window, extra_bytes=extra)
    weight, bias, scale = ins[1].data, ins[2].data, np.asarray(ins[1].quant.scale, np.float32)
    assert weight is not None
    return layer_of(
        node.name,
        name,
        kind,
        out.shape,
        input_shape=ins[0].shape,
        weight=weight,
        bias=bias,
        scale=scale,
        depthwise=isinstance(node.op, ops.DepthwiseConv2D),
        window=int(np.prod(weight.shape[1:3])),
        extra_bytes=extra + scale.nbytes,
    )


def layer_of(
    name: str,
    op: str,
    kind: Kind,
    output_shape: tuple[int, ...],
    *,
    input_shape: tuple[int, ...] = (),
    channel_axis: int = -1,
    weight: Array | None = None,
    bias: Array | None = None,
    scale: Array | None = None,
    depthwise: bool = False,
    window: int = 1,
    constant_bytes: int | None = None,
    extra_bytes: int = 0,
) -> Layer:
    """A layer from shapes (of one clip) and constants, for every file format.

    Args:
        channel_axis: axis of the channels in the output shape.
        scale: scale of a quantised weight.
        depthwise: a convolution that may be of kind ``scalar``.
        constant_bytes: stored bytes, if they differ from those of weight and bias.
    """
    elements, input_elements = math.prod(output_shape), math.prod(input_shape)
    in_channels = input_shape[channel_axis] if input_shape else 1
    channels = output_shape[channel_axis] if output_shape else 1
    constants = [c for c in (weight, bias) if c is not None]
    return Layer(
        name,
        op,
        "scalar" if depthwise and _alike(channels, window, weight, bias, scale) else kind,
        output_shape,
        positions=elements // channels if channels else 0,
        input_positions=input_elements // in_channels if in_channels else 0,
        weights=0 if weight is None else weight.size,
        biases=0 if bias is None else bias.size,
        constant_bytes=sum(c.nbytes for c in constants) if constant_bytes is None else constant_bytes,
        extra_bytes=extra_bytes,
        input_elements=input_elements,
        output_elements=elements,
        window=window,
    )


def counted_once(layer: Layer, repeated: int, n_bytes: int) -> Layer:
    """The layer without constants that an earlier one stores: so many weights and biases, and bytes of constants."""
    return replace(layer, repeated=repeated, constant_bytes=layer.constant_bytes - n_bytes)


def _alike(channels: int, window: int, weight: Array | None, bias: Array | None, scale: Array | None) -> bool:
    """Whether a depthwise convolution is equal in all channels and taps; a 1x1 one, except for a factor or an offset.

    An offset appears as unequal biases, a factor as equal codes with unequal scales. Without a bias every 1x1 kernel
    would look like a factor: there the scales must be equal too. A single channel is indistinguishable from an ordinary
    convolution and counts as one.
    """
    if channels == 1 or weight is None or not _repeats(weight):
        return False
    same_scale, same_bias = scale is None or _repeats(scale), bias is None or _repeats(bias)
    if window > 1 or (same_scale and same_bias):
        return same_scale and same_bias
    return same_scale or (same_bias and bias is not None and bool(bias.any()))


def _repeats(array: Array) -> bool:
    return bool((array == array.flat[:1]).all())


def parse_size(text: str) -> int:
    """Bytes of '128kB' (1000 B each), '125KiB' (1024 B each), '0.1MB' or '128000'."""
    return _parse(text, _SIZE_UNITS, r"", "a size such as 128kB, 125KiB or 128000")


def parse_count(text: str) -> int:
    """MACs of '30M', '30MMAC', '29.4e6' or '30000000'."""
    return _parse(text, _COUNT_UNITS, r"(?:macs?)?", "a count such as 30M, 30MMAC or 29.4e6")


def _parse(text: str, units: dict[str, int], tail: str, expected: str) -> int:
    names = "|".join(sorted(units, key=len, reverse=True))
    match = re.fullmatch(rf"\s*(\d+(?:\.\d*)?(?:e\+?\d+)?)\s*({names}){tail}\s*", text.lower())
    value = float(match[1]) * units[match[2]] if match else 0.0
    if match is None or not 1 <= value < 2**63:
        raise RuntimeFailure(f"limit '{text}'", "invalid value", expected=expected)
    return round(value)
