"""Graphs for hard cases: random nets of all ops, extreme shapes and values, and scales that give exact ties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.graphs import FUNCTIONS, Builder, Rng
from tests.movement_graphs import MOVEMENT_KINDS, random_movement
from tests.random_nodes import (
    SPREAD_KINDS,
    random_broadcast,
    random_extremum,
    random_lstm,
    random_pads,
    random_products,
    random_reduction,
    random_view,
    spread_convolution,
)
from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor

ACTIVATION_KINDS = (
    *("conv2d", "depthwise_conv2d", "add", "mul", "mean", "reduce", "rsqrt"),
    *("fully_connected", "batch_matmul", "sub", "pool2d", "lookup", "softmax", "log_softmax", "concat"),
    *("broadcast", "table", "prelu"),
    *MOVEMENT_KINDS,
    *SPREAD_KINDS,
    *("lstm", "squared_difference", "extremum", "l2_norm"),
)


def random_net(rng: Rng, n_nodes: int = len(ACTIVATION_KINDS)) -> Graph:
    """Every op several times, each reading a random earlier tensor, so that one build tests many shapes."""
    height, width, channels = (int(v) for v in rng.integers((4, 4, 1), (16, 16, 20)))
    b = Builder(rng, "random_net", (height, width, channels))
    pool = [b.input]
    for step in range(n_nodes):
        x = pool[int(rng.integers(len(pool)))]
        pool.append(_random_node(b, rng, ACTIVATION_KINDS[step % len(ACTIVATION_KINDS)], x))
    return b.graph(b.mean(pool[-1], over="channels", keep_dims=False))


def _random_node(b: Builder, rng: Rng, kind: str, x: str) -> str:
    _, height, width, channels = b.tensors[x].shape
    relu = bool(rng.integers(2))
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    kernel = (int(rng.integers(1, min(5, height) + 1)), int(rng.integers(1, min(5, width) + 1)))
    pads = random_pads(rng, kernel)
    if kind == "conv2d":
        return b.conv(x, kernel, channels=int(rng.integers(1, 40)), stride=stride, pads=pads, relu=relu)
    if kind == "depthwise_conv2d":
        return b.conv(x, kernel, stride=stride, pads=pads, relu=relu)
    if kind in SPREAD_KINDS:
        return spread_convolution(b, rng, kind, x)
    if kind == "add":
        return b.add(x, b.conv(x, (1, 1)), relu)
    if kind == "mul":
        partners = (x, b.mean(x), b.mean(b.mean(x), over="channels"))
        return b.mul(x, partners[int(rng.integers(3))])
    if kind == "reduce":
        flat = random_reduction(rng, b, random_view(rng, b, x))
        return b.reshape(flat, (1, 1, 1, b.tensors[flat].n_bytes))
    if kind == "mean":
        return b.mean(x, over="space" if relu else "channels")
    if kind == "squared_difference":
        return b.squared_difference(x, b.conv(x, (1, 1)))
    if kind == "extremum":
        return random_extremum(rng, b, x, "max" if relu else "min")
    if kind == "l2_norm":
        return b.l2_norm(x)
    if kind == "sub":
        return b.sub(x, b.conv(x, (1, 1)), relu)
    if kind == "fully_connected":
        flat = b.reshape(x, (1, height * width * channels))
        outputs = int(rng.integers(1, 30))
        rows = random_view(rng, b, x) if pads[0] else flat
        product = b.fully_connected(rows, outputs, relu=relu, per_channel=stride[0] > 1)
        return b.reshape(product, (1, b.tensors[product].n_bytes // outputs, 1, outputs))
    if kind == "pool2d":
        return b.pool(x, "max" if relu else "average", kernel, stride=stride, pads=pads)
    if kind == "lookup":
        return b.lookup(x, rng.choice(FUNCTIONS).item())
    if kind == "log_softmax":
        return b.log_softmax(x)
    if kind == "softmax":
        return b.softmax(x, beta=1.0 if relu else 0.5)
    if kind in MOVEMENT_KINDS:
        return random_movement(b, rng, kind, x)
    if kind == "concat":
        return b.concat(x, b.pool(x, "max", (1, 1)), int(rng.integers(1, 4)))
    if kind in ("table", "prelu"):
        return b.table(x) if kind == "table" else b.prelu(x)
    if kind in ("batch_matmul", "lstm"):
        product = (random_products if kind == "batch_matmul" else random_lstm)(rng, b, x)
        return b.reshape(product, (1, 1, 1, b.tensors[product].n_bytes))
    if kind == "broadcast":
        y = random_broadcast(rng, b, x)
        return y if len(b.tensors[y].shape) == 4 else b.reshape(y, (1, 1, 1, int(np.prod(b.tensors[y].shape))))
    return b.rsqrt(b.conv(x, (1, 1), channels=channels, relu=True))


def with_quant(graph: Graph, quants: dict[str, Quant]) -> Graph:
    """The same graph with other scales of some activations, and the bias scales that follow from them."""
    tensors = {name: replace(t, quant=quants.get(name, t.quant)) for name, t in graph.tensors.items()}
    for node in graph.nodes:
        if isinstance(node.op, ops.Conv2D | ops.DepthwiseConv2D):
            x, weight, bias = (tensors[name] for name in node.inputs)
            scale = np.float32(x.quant.scale[0]) * np.asarray(weight.quant.scale, np.float32)
            tensors[bias.name] = replace(bias, quant=Quant.per_channel(scale, 0))
    return replace(graph, tensors=tensors).check()


def convolution(
    rng: Rng,
    shape: tuple[int, int, int],
    kernel: tuple[int, int],
    *,
    channels: int | None = None,
    stride: tuple[int, int] = (1, 1),
    pads: ops.Pads = (0, 0, 0, 0),
    x_quant: Quant | None = None,
    out_quant: Quant | None = None,
    weight_scale: Any = None,
    weight: Any = None,
    bias: Any = None,
    relu: bool = False,
) -> Graph:
    """One convolution, depthwise without ``channels``."""
    height, width, in_c = shape
    out_c = channels or in_c
    weight_shape = (channels, *kernel, in_c) if channels else (1, *kernel, in_c)
    weight = rng.integers(-127, 128, weight_shape) if weight is None else weight
    bias = rng.integers(-1000, 1001, out_c) if bias is None else bias
    scale = np.broadcast_to(np.float32(0.004 if weight_scale is None else weight_scale), out_c)
    x_quant, out_quant = x_quant or Quant.per_tensor(0.03, 5), out_quant or Quant.per_tensor(0.1, -7)
    out_hw = ops.window_output((height, width), kernel, stride, pads)
    axis = 0 if channels else 3
    tensors = [
        Tensor("x", (1, *shape), "int8", x_quant),
        Tensor("w", weight_shape, "int8", Quant.per_channel(scale, axis), np.asarray(weight, np.int8)),
        Tensor("b", (out_c,), "int32", Quant.per_channel(np.float32(x_quant.scale[0]) * scale, 0), np.int32(bias)),
        Tensor("y", (1, *out_hw, out_c), "int8", out_quant),
    ]
    op = ops.Conv2D(stride, pads, relu) if channels else ops.DepthwiseConv2D(stride, pads, relu)
    node = Node("conv", op, ("x", "w", "b"), "y")
    return Graph("convolution", {t.name: t for t in tensors}, (node,), ("x",), ("y",)).check()


def tie_net() -> Graph:
    """Scales that are powers of two, so that many rescaled sums are exactly halfway between two codes.

    The input has 256 pixels: given every code once, each op meets every code.
    """
    b = Builder(np.random.default_rng(5), "ties", (16, 16, 2), Quant.per_tensor(0.5, 3))
    conv, depthwise = b.conv(b.input, (1, 1), channels=4), b.conv(b.input, (1, 1))
    total, product = b.add(b.input, depthwise), b.mul(b.input, b.input)
    mean = b.mean(b.input, over="channels")
    graph = b.graph(b.mean(b.add(total, product)))
    tensors = {name: unit_weights(t) for name, t in graph.tensors.items()}
    quants = {conv: (0.5, -4), depthwise: (1.0, 0), total: (2.0, 7), product: (8.0, -100), mean: (1.0, 2)}
    return with_quant(replace(graph, tensors=tensors), {name: Quant.per_tensor(*q) for name, q in quants.items()})


def unit_weights(tensor: Tensor) -> Tensor:
    """Weights of -0.5, 0 or 0.5, biases of zero, unchanged activations."""
    if tensor.data is None:
        return tensor
    if tensor.quant.axis is None or tensor.dtype == "int32":
        return replace(tensor, data=np.zeros_like(tensor.data))
    scale = np.full(len(tensor.quant.scale), 0.5)
    return replace(tensor, data=np.sign(tensor.data), quant=Quant.per_channel(scale, tensor.quant.axis))


CP_MOBILE = {  # frames, widths of the stages, expansion of each block, strides of blocks 1-6
    "dcase25": (65, (32, 56, 104), (64, 64, 64, 64, 120, 120), ((1, 1), (1, 1), (1, 2), (2, 1), (1, 1), (1, 1))),
    "cpm23": (64, (32, 72, 168), (96, 96, 96, 96, 216, 216), ((1, 1), (2, 2), (1, 1), (2, 1), (1, 1), (1, 1))),
}


def cp_mobile(rng: Rng, variant: str) -> Graph:
    """Random weights in the shapes of the largest CP-Mobiles: dcase25 (32, 1.8, 2.1); cpm23 (32, 2.3, 3.0) with GRN."""
    frames, widths, widened, strides = CP_MOBILE[variant]
    grn = variant == "cpm23"
    b = Builder(rng, variant, (256, frames, 1))
    x = b.conv(b.input, (3, 3), channels=widths[0] // 4, stride=(2, 2), pads=(1, 1, 1, 1), relu=True)
    x = b.conv(x, (3, 3), channels=widths[0], stride=(2, 2), pads=(1, 1, 1, 1), relu=True)
    outputs = (widths[0],) * 3 + (widths[1],) * 2 + (widths[2],)
    for wide, out, stride in zip(widened, outputs, strides, strict=True):
        shortcut = out == b.tensors[x].shape[3]
        inner = b.conv(x, (1, 1), channels=wide, relu=True)
        inner = b.conv(inner, (3, 3), stride=stride, pads=(1, 1, 1, 1), relu=True)
        inner = b.conv(inner, (1, 1), channels=out, relu=not (shortcut or grn))
        if shortcut:
            side = x if stride == (1, 1) else b.conv(x, (3, 3), stride=stride, pads=(1, 1, 1, 1))
            inner = b.add(inner, side, relu=not grn)
        x = b.grn(inner) if grn else inner
    return b.graph(b.mean(b.conv(x, (1, 1), channels=10), keep_dims=False))
