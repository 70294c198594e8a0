"""Random integer graphs over all ops, with extremes of scale, zero point, shape, weight and bias.

The graph of (seed, number) is always the same. A draw that :meth:`Graph.check` refuses is replaced by the next.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from tests.graphs import FUNCTIONS, OP_KINDS, Builder, Rng
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
from tests.random_states import streaming
from tinyscene.runtime import ops
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor

LARGEST_TENSOR = 12_000  # elements, so that a net takes milliseconds on an emulated processor
_ZERO_POINTS = (-128, -127, -1, 0, 1, 126, 127)
_MOST_NODES = 7
_SMALLEST_SOFTMAX_SCALE = 2.0**-24
_SEVERAL_SHARE = 0.3  # of the nets with several inputs or outputs
_MOST_ENDS = 3
_STATES_SHARE = 0.15  # of the nets that keep states between runs
_EXTREME_SHARE = 0.25  # of the scales, zero points, weights and biases


class ExtremeBuilder(Builder):
    """A builder whose quantisation and constants are sometimes at the edge of what is allowed."""

    def _extreme(self) -> bool:
        return bool(self.rng.random() < _EXTREME_SHARE)

    def quant(self, scale: float) -> Quant:
        if not self._extreme():
            return super().quant(scale)
        wide = scale * float(2.0 ** self.rng.uniform(-6, 6))
        return Quant.per_tensor(wide, int(self.rng.choice(_ZERO_POINTS)))

    def _reached(self, node: Node) -> Quant:
        quant = super()._reached(node)
        if self._extreme():
            quant = Quant.per_tensor(quant.scale[0] * float(2.0 ** self.rng.uniform(-4, 5)), quant.zero_point)
        if self._extreme() and not ops.has_relu(node.op):
            quant = Quant.per_tensor(quant.scale[0], int(self.rng.choice(_ZERO_POINTS)))
        return quant

    def tensor(self, name: str, shape: tuple[int, ...], quant: Quant, data: Any = None) -> str:
        if data is not None and self._extreme():
            data = self._edges(data)
        return super().tensor(name, shape, quant, data)

    def _edges(self, data: Any) -> Any:
        """Constants of their largest magnitude, of one sign or both, or zeros."""
        lowest, largest = (-128, 127) if data.dtype == np.int8 else (-(2**24), 2**24)
        values = ((largest,), (lowest,), (largest, lowest), (0,), (0, 0, 0, largest))
        chosen = values[int(self.rng.integers(len(values)))]
        return self.rng.choice(chosen, data.shape).astype(data.dtype)


def random_net(seed: int, number: int) -> Graph:
    """One to seven random nodes, each reading a random earlier tensor; of some nets several inputs and outputs."""
    for attempt in count():
        rng = np.random.default_rng([seed, number, attempt])
        try:
            graph = _net(rng)
        except RuntimeFailure:  # beyond what a graph may have
            continue
        if max(tensor.n_bytes for tensor in graph.activations()) <= LARGEST_TENSOR:
            return replace(graph, name=f"net_{seed}_{number}")
    raise AssertionError


def _net(rng: Rng) -> Graph:
    edge = rng.random() < 0.2
    shape = tuple(int(v) for v in (rng.integers(1, 3, 3) if edge else rng.integers((1, 1, 1), (17, 17, 24))))
    b = ExtremeBuilder(rng, "net", (shape[0], shape[1], shape[2]))
    several = rng.random() < _SEVERAL_SHARE
    for number in range(int(rng.integers(_MOST_ENDS)) if several else 0):
        b.new_input(f"input_{number}", tuple(rng.integers(1, 9, 3).tolist()))
    images, last = list(b.inputs), b.input
    for _ in range(int(rng.integers(1, _MOST_NODES + 1))):
        last = random_node(b, rng, str(rng.choice(OP_KINDS)), images[int(rng.integers(len(images)))])
        if len(b.tensors[last].shape) == 4:
            images.append(last)
    others = [node.output for node in b.nodes if node.output != last]
    count = min(int(rng.integers(_MOST_ENDS)), len(others)) if several else 0
    outputs = rng.permutation([last, *rng.choice(others, count, replace=False).tolist()]).tolist()
    return streaming(b, rng, images, outputs) if rng.random() < _STATES_SHARE else b.graph(*outputs)


def random_node(b: Builder, rng: Rng, kind: str, x: str) -> str:
    """Append an op of this kind that reads ``x`` (1, H, W, C), with random attributes; returns its output."""
    _, height, width, channels = b.tensors[x].shape
    coin, other = (bool(v) for v in rng.integers(2, size=2))
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    kernel = (int(rng.integers(1, min(5, height) + 1)), int(rng.integers(1, min(5, width) + 1)))
    pads = random_pads(rng, kernel)
    if kind == "conv2d":
        return b.conv(x, kernel, channels=int(rng.integers(1, 40)), stride=stride, pads=pads, relu=coin)
    if kind == "depthwise_conv2d":
        return b.conv(x, kernel, stride=stride, pads=pads, relu=coin)
    if kind in SPREAD_KINDS:
        return spread_convolution(b, rng, kind, x)
    if kind in ("add", "sub"):
        return (b.add if kind == "add" else b.sub)(x, b.conv(x, (1, 1)) if other else x, coin)
    if kind == "squared_difference":
        return b.squared_difference(x, b.conv(x, (1, 1)))
    if kind == "extremum":
        return random_extremum(rng, b, x, "max" if coin else "min")
    if kind == "l2_norm":
        return b.l2_norm(random_view(rng, b, x) if coin else x)
    if kind == "mul":
        partners = (x, b.mean(x), b.mean(b.mean(x), over="channels"))
        return b.mul(x, partners[int(rng.integers(3))])
    if kind == "mean":
        return b.mean(x, over="space" if coin else "channels", keep_dims=other)
    if kind == "reduce":
        return random_reduction(rng, b, random_view(rng, b, x))
    if kind == "rsqrt":
        return b.rsqrt(b.conv(x, (1, 1), channels=channels, relu=True))
    if kind == "pool2d":
        any_pads = pads if coin or rng.random() < 0.2 else None  # TFLite refuses most pads of averages
        return b.pool(x, "max" if coin else "average", kernel, stride=stride, same=other, pads=any_pads)
    if kind == "lookup":
        return b.lookup(x, rng.choice(FUNCTIONS).item())
    if kind in MOVEMENT_KINDS:
        return random_movement(b, rng, kind, x)
    if kind == "concat":
        return b.concat(x, b.pool(x, "max", (1, 1)), int(rng.integers(1, 4)))
    if kind == "log_softmax":
        return b.log_softmax(x) if b.tensors[x].quant.scale[0] > _SMALLEST_SOFTMAX_SCALE else x
    if kind in ("table", "prelu"):
        return b.table(x) if kind == "table" else b.prelu(x)
    if kind in ("batch_matmul", "lstm"):
        return (random_products if kind == "batch_matmul" else random_lstm)(rng, b, x)
    if kind == "broadcast":
        return random_broadcast(rng, b, x)
    flat = b.reshape(x, (1, height * width * channels))
    if kind == "fully_connected":
        rows = random_view(rng, b, x) if rng.integers(2) else flat
        return b.fully_connected(rows, int(rng.integers(1, 30)), relu=coin, per_channel=other)
    if kind == "softmax":
        # ONNX Runtime returns 0 for a row of one element, and TFLite has no multiplier for scales below 2^-26.
        rows, beta = random_view(rng, b, x), float(np.float32(rng.choice([1.0, 0.37, 2.0])))
        rows = rows if coin and b.tensors[rows].shape[-1] > 1 else flat
        fits = b.tensors[rows].shape[-1] > 1 and beta * b.tensors[x].quant.scale[0] > _SMALLEST_SOFTMAX_SCALE
        return b.softmax(rows, beta) if fits else flat
    return flat if coin else b.reshape(x, (1, width, channels, height))


def constant_bytes(graph: Graph) -> int:
    """Bytes of all weights and biases."""
    return sum(tensor.n_bytes for tensor in graph.constants() if isinstance(tensor, Tensor))
