"""Small random integer graphs for differential tests: one op at a time, and a net that has every op.

Output ranges follow a sample that runs along, so that codes use their range and some saturate; weights reach the
extremes.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

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
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.graph import PROBABILITY, Graph, Node, Quant, Tensor
from tinyscene.runtime.kernels import ACCUMULATORS, KERNELS
from tinyscene.runtime.op_ranges import LOG_PROBABILITY_SCALE, LOG_PROBABILITY_ZERO_POINT, TANH_SCALE
from tinyscene.runtime.vectors import row_shape

Rng = np.random.Generator
LOG_PROBABILITY = Quant.per_tensor(LOG_PROBABILITY_SCALE, LOG_PROBABILITY_ZERO_POINT)
LONGEST_LOG_SOFTMAX = 4095


class Builder:
    """Appends nodes whose output scale follows from the range of a sample."""

    def __init__(self, rng: Rng, name: str, shape: tuple[int, int, int], quant: Quant | None = None) -> None:
        self.rng, self.name = rng, name
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self._sample: dict[str, Any] = {}
        self.inputs: tuple[str, ...] = ()
        self.input = self.new_input("input", shape, quant)

    def new_input(self, name: str, shape: tuple[int, ...], quant: Quant | None = None) -> str:
        """Another input of the graph."""
        self.tensor(name, (1, *shape), quant or self.quant(0.05))
        self._sample[name] = self.rng.integers(-128, 128, (4, *shape)).astype(np.int8)
        self.inputs += (name,)
        return name

    def quant(self, scale: float) -> Quant:
        return Quant.per_tensor(scale * self.rng.uniform(0.7, 1.4), int(self.rng.integers(-128, 128)))

    def tensor(self, name: str, shape: tuple[int, ...], quant: Quant, data: Any = None) -> str:
        dtype: Literal["int8", "int32"] = "int32" if data is not None and data.dtype == np.int32 else "int8"
        self.tensors[name] = Tensor(name, shape, dtype, quant, data)
        return name

    def node(self, op: ops.Op, inputs: tuple[str, ...], shape: tuple[int, ...], quant: Quant | None = None) -> str:
        """Append a node; its output range is that of the sample, slightly narrowed or widened, or ``quant``."""
        name = f"{type(op).__name__.lower()}_{len(self.nodes)}"
        node = Node(name, op, inputs, f"{name}_out")
        self.tensor(node.output, shape, quant or self._reached(node))
        graph = Graph(self.name, self.tensors, (node,), (self.input,), (node.output,))
        self._sample[node.output] = KERNELS[type(op)](graph, node, self._arrays(node), "double")
        self.nodes.append(node)
        return node.output

    def _reached(self, node: Node) -> Quant:
        real = self._real(node)
        span = float(np.abs(real).max())
        low, high = min(0.0, float(real.min())), max(float(real.max()), span / 8, 1e-6)
        if ops.has_relu(node.op):
            low = 0.0
        scale = (high - low) / 255 * self.rng.uniform(0.7, 1.2)
        if isinstance(node.op, ops.Add | ops.Sub):  # an output scale far above an input's is refused
            scale = min(scale, 1000 * min(self.tensors[name].quant.scale[0] for name in node.inputs))
        if isinstance(node.op, ops.Reduce | ops.Lookup | ops.PRelu):  # and one far below it is refused here
            scale = max(scale, self.tensors[node.inputs[0]].quant.scale[0] / 100)
        return Quant.per_tensor(scale, int(np.clip(round(-128 - low / scale), -128, 127)))

    def _arrays(self, node: Node) -> tuple[Any, ...]:
        return tuple(self._sample.get(name, self.tensors[name].data) for name in node.inputs)

    def _real(self, node: Node) -> Any:
        """Real output of the op on the sample before quantisation."""
        arrays, quants = self._arrays(node), [self.tensors[name].quant for name in node.inputs]
        graph = Graph(self.name, self.tensors, (node,), (self.input,), (node.output,))
        if accumulate := ACCUMULATORS.get(type(node.op)):
            return accumulate(graph, node, arrays) * quants[0].scale[0] * np.asarray(quants[1].scale)
        real = [dequantise(array, quant) for array, quant in zip(arrays, quants, strict=True)]
        if isinstance(node.op, ops.BatchMatMul):
            x, y = real
            return (x.swapaxes(-1, -2) if node.op.adj_x else x) @ (y.swapaxes(-1, -2) if node.op.adj_y else y)
        if isinstance(node.op, ops.Reduce):
            return getattr(np, node.op.kind)(real[0], axis=node.op.axes)
        if isinstance(node.op, ops.Rsqrt):
            return 1.0 / np.sqrt(np.maximum(real[0], quants[0].scale[0]))
        if isinstance(node.op, ops.Lookup):
            return real[0]
        a, b = self._aligned(node, real)
        if isinstance(node.op, ops.Sub | ops.SquaredDifference):
            return a - b if isinstance(node.op, ops.Sub) else (a - b) ** 2
        if isinstance(node.op, ops.PRelu):
            return np.where(a < 0, a * b, a)
        return a + b if isinstance(node.op, ops.Add) else a * b

    def _aligned(self, node: Node, arrays: list[Any]) -> list[Any]:
        """Operands with the rank of the output."""
        tensors = [self.tensors[name] for name in node.inputs]
        rank = max(len(t.shape) for t in tensors)
        shapes = [ops.aligned(t.shape, rank) for t in tensors]
        batches = [shape[:1] if t.data is not None else (-1,) for shape, t in zip(shapes, tensors, strict=True)]
        pairs = zip(arrays, batches, shapes, strict=True)
        return [array.reshape(*batch, *shape[1:]) for array, batch, shape in pairs]

    def conv(
        self,
        x: str,
        kernel: tuple[int, int],
        *,
        channels: int | None = None,
        stride: tuple[int, int] = (1, 1),
        pads: ops.Pads = (0, 0, 0, 0),
        relu: bool = False,
    ) -> str:
        """A convolution to ``channels``, or a depthwise one if that is None."""
        op: ops.Op = ops.Conv2D(stride, pads, relu) if channels else ops.DepthwiseConv2D(stride, pads, relu)
        return self.convolution(x, op, kernel, channels or self.tensors[x].shape[3])

    def convolution(self, x: str, op: Any, kernel: tuple[int, int], out_c: int) -> str:
        """A convolution of this op, transposed or of any dilation and number of groups or of outputs for each input."""
        t, rng = self.tensors[x], self.rng
        dense = not isinstance(op, ops.DepthwiseConv2D)
        shape = (out_c, *kernel, t.shape[3] // getattr(op, "groups", 1)) if dense else (1, *kernel, out_c)
        weight = rng.integers(-127, 128, shape, dtype=np.int8)
        weight[weight == -127] = -128  # the codes of converters that are not symmetric
        scale = rng.uniform(0.001, 0.01, out_c).astype(np.float32)
        bias = rng.integers(-2000, 2001, out_c, dtype=np.int32)
        tag = f"{len(self.nodes)}"
        w = self.tensor(f"weight_{tag}", shape, Quant.per_channel(scale, 0 if dense else 3), weight)
        bias_scale = np.float32(t.quant.scale[0]) * scale
        b = self.tensor(f"bias_{tag}", (out_c,), Quant.per_channel(bias_scale, 0), bias)
        return self.node(op, (x, w, b), ops.OPS[type(op)].shape(op, t.shape, shape, (out_c,)))

    def add(self, a: str, b: str, relu: bool = False) -> str:
        return self.pair(ops.Add(relu), a, b)

    def mul(self, a: str, b: str) -> str:
        return self.pair(ops.Mul(), a, b)

    def mean(self, x: str, over: str = "space", keep_dims: bool = True) -> str:
        return self.reduce(x, "mean", ops.SPACE if over == "space" else (3,), keep_dims)

    def reduce(self, x: str, kind: Any, axes: tuple[int, ...], keep_dims: bool = True) -> str:
        t, op = self.tensors[x], ops.Reduce(kind, axes, keep_dims)
        return self.node(op, (x,), ops.OPS[ops.Reduce].shape(op, t.shape), t.quant if kind in ("max", "min") else None)

    def rsqrt(self, x: str) -> str:
        return self.node(ops.Rsqrt(), (x,), self.tensors[x].shape)

    def sub(self, a: str, b: str, relu: bool = False) -> str:
        return self.pair(ops.Sub(relu), a, b)

    def pair(self, op: ops.Pair, a: str, b: str) -> str:
        shape = ops.OPS[type(op)].shape(op, self.tensors[a].shape, self.tensors[b].shape)
        return self.node(op, (a, b), shape, self.tensors[a].quant if isinstance(op, ops.Extremum) else None)

    def squared_difference(self, a: str, b: str) -> str:
        return self.pair(ops.SquaredDifference(), a, b)

    def l2_norm(self, x: str) -> str:
        return self.node(ops.L2Norm(), (x,), self.tensors[x].shape, Quant.per_tensor(TANH_SCALE, 0))

    def constant(self, shape: tuple[int, ...], quant: Quant | None = None) -> str:
        """An int8 constant in place of an activation."""
        codes = self.rng.integers(-128, 128, shape).astype(np.int8)
        return self.tensor(f"constant_{len(self.tensors)}", shape, quant or self.quant(0.03), codes)

    def fully_connected(self, x: str, outputs: int, *, relu: bool = False, per_channel: bool = False) -> str:
        """A fully connected layer on the rows of a tensor of shape (1, ..., K)."""
        t, rng, tag = self.tensors[x], self.rng, f"{len(self.nodes)}"
        scale = rng.uniform(0.001, 0.01, outputs if per_channel else 1).astype(np.float32)
        bias_scale = np.float32(t.quant.scale[0]) * scale
        quants = [Quant(tuple(s.tolist()), 0, 0 if per_channel else None) for s in (scale, bias_scale)]
        weight = rng.integers(-127, 128, (outputs, t.shape[-1]), dtype=np.int8)
        bias = rng.integers(-2000, 2001, outputs, dtype=np.int32)
        w = self.tensor(f"weight_{tag}", weight.shape, quants[0], weight)
        b = self.tensor(f"bias_{tag}", bias.shape, quants[1], bias)
        return self.node(ops.FullyConnected(relu), (x, w, b), (*t.shape[:-1], outputs))

    def pool(
        self,
        x: str,
        kind: str,
        kernel: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        same: bool = False,
        pads: ops.Pads | None = None,
    ) -> str:
        """A pool with these pads, or without padding, or with padding that keeps the number of windows."""
        t = self.tensors[x]
        size = (t.shape[1], t.shape[2])
        total = [max((-(-n // s) - 1) * s + k - n, 0) * same for n, k, s in zip(size, kernel, stride, strict=True)]
        pads = pads or (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
        op = ops.Pool2D("max" if kind == "max" else "average", kernel, stride, pads)
        return self.node(op, (x,), (1, *ops.window_output(size, kernel, stride, pads), t.shape[3]), t.quant)

    def lookup(self, x: str, function: Any) -> str:
        """A function of ``x``; one that needs another zero point or a smaller scale follows a change of them."""
        t, rng = self.tensors[x], self.rng
        if function in ("log", "sqrt") and t.quant.zero_point != -128:
            x = self.node(ops.Lookup("requantise"), (x,), t.shape, Quant.per_tensor(t.quant.scale[0] * 0.7, -128))
        elif function == "neg" and t.quant.zero_point == -128:
            function = "abs"
        elif function == "hard_swish" and not 2.0**-20 <= t.quant.scale[0] < 2.0**16:
            function = "relu"
        quant = self.tensors[x].quant
        alpha = float(np.float32(rng.choice([0.01, 0.1, 0.3, rng.uniform(-1, 2)]))) if function == "leaky_relu" else 0.0
        negative = Quant(quant.scale, max(-quant.zero_point, -128))
        tanh = Quant.per_tensor(TANH_SCALE, 0)
        fixed = {"logistic": PROBABILITY, "relu6": quant, "tanh": tanh, "neg": negative}
        free = function in ("exp", "log", "sqrt", "elu", "gelu", "gelu_tanh")
        return self.node(ops.Lookup(function, alpha), (x,), t.shape, self.quant(0.05) if free else fixed.get(function))

    def prelu(self, x: str) -> str:
        """Factors for each element, channel or tensor, about -1.3 to 1.3."""
        shape = self.tensors[x].shape
        sides = [n if self.rng.random() < 0.6 else 1 for n in shape[1:]]
        alpha = self.constant((1, *sides)[int(self.rng.integers(len(shape))) :], self.quant(0.01))
        return self.node(ops.PRelu(), (x, alpha), shape)

    def table(self, x: str) -> str:
        """Random codes, which no function has."""
        quant = self.quant(0.05)
        codes = self.rng.integers(-128, 128, 256).astype(np.int8)
        values = self.tensor(f"table_{len(self.tensors)}", (256,), quant, codes)
        return self.node(ops.Table(), (x, values), self.tensors[x].shape, quant)

    def log_softmax(self, x: str) -> str:
        return self.node(ops.LogSoftmax(), (x,), self.tensors[x].shape, LOG_PROBABILITY)

    def softmax(self, x: str, beta: float = 1.0) -> str:
        return self.node(ops.Softmax(beta), (x,), self.tensors[x].shape, PROBABILITY)

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        return self.node(ops.Reshape(shape), (x,), shape, self.tensors[x].quant)

    def moved(self, op: ops.Movement, *inputs: str) -> str:
        """Append an op that only moves elements."""
        shape = ops.OPS[type(op)].shape(op, *(self.tensors[name].shape for name in inputs))
        return self.node(op, inputs, shape, self.tensors[inputs[0]].quant)

    def concat(self, a: str, b: str, axis: int) -> str:
        shape = list(self.tensors[a].shape)
        shape[axis] += self.tensors[b].shape[axis]
        return self.node(ops.Concat(axis), (a, b), tuple(shape), self.tensors[a].quant)

    def grn(self, x: str) -> str:
        """Global response normalisation as int8 ops: x * (1 + gamma n) + beta, then ReLU."""
        power = self.mean(self.mul(x, x))
        norm = self.mul(power, self.rsqrt(power))
        inverse = self.rsqrt(self.mean(norm, over="channels"))
        ratio = self.mul(self.mul(norm, inverse), inverse)
        scale = self.conv(ratio, (1, 1))
        return self.conv(self.mul(x, scale), (1, 1), relu=True)

    def graph(self, *outputs: str) -> Graph:
        return Graph(self.name, self.tensors, tuple(self.nodes), self.inputs, outputs).check()


def one_op(rng: Rng, kind: str) -> Graph:
    """A graph of one op (two where one needs a partner) with random shape, scales and attributes."""
    height, width, channels = (int(v) for v in rng.integers(1, (12, 12, 40)))
    b = Builder(rng, kind, (height, width, channels))
    relu = bool(rng.integers(2))
    stride = tuple(int(v) for v in rng.integers(1, 3, 2))
    kernel = tuple(int(v) for v in rng.integers(1, np.minimum(4, (height + 1, width + 1))))
    if kind == "conv2d":
        out_c = int(rng.integers(1, 40))
        return b.graph(b.conv(b.input, kernel, channels=out_c, stride=stride, pads=random_pads(rng, kernel), relu=relu))
    if kind == "depthwise_conv2d":
        return b.graph(b.conv(b.input, kernel, stride=stride, pads=random_pads(rng, kernel), relu=relu))
    if kind in SPREAD_KINDS:
        return b.graph(spread_convolution(b, rng, kind, b.input))
    if kind == "add":
        return b.graph(b.add(b.input, b.conv(b.input, (1, 1)), relu))
    if kind == "mul":
        partner = b.input if relu else b.mean(b.input)
        return b.graph(b.mul(b.input, partner))
    if kind == "mean":
        return b.graph(b.mean(b.input, over="space" if relu else "channels", keep_dims=bool(rng.integers(2))))
    if kind == "reduce":
        return b.graph(random_reduction(rng, b, random_view(rng, b, b.input)))
    if kind == "rsqrt":
        b = Builder(rng, kind, (height, width, channels), Quant.per_tensor(rng.uniform(0.001, 0.1), -128))
        return b.graph(b.rsqrt(b.input))
    return _one_plain_op(rng, b, kind, kernel, stride)


def _one_plain_op(rng: Rng, b: Builder, kind: str, kernel: tuple[int, int], stride: tuple[int, int]) -> Graph:
    x, coin = b.input, bool(rng.integers(2))
    size = int(np.prod(b.tensors[x].shape))
    if kind in ("sub", "squared_difference"):
        partner = b.conv(x, (1, 1))
        return b.graph(b.sub(x, partner, coin) if kind == "sub" else b.squared_difference(x, partner))
    if kind == "extremum":
        return b.graph(random_extremum(rng, b, x, "max" if coin else "min"))
    if kind == "l2_norm":
        return b.graph(b.l2_norm(random_view(rng, b, x) if coin else x))
    if kind == "fully_connected":
        outputs = int(rng.integers(1, 40))
        rows = random_view(rng, b, x) if rng.integers(2) else b.reshape(x, (1, size))
        return b.graph(b.fully_connected(rows, outputs, relu=coin, per_channel=bool(rng.integers(2))))
    if kind == "batch_matmul":
        return b.graph(random_products(rng, b, x))
    if kind == "pool2d":
        pooling = str(rng.choice(["max", "average"]))
        pads = random_pads(rng, kernel) if pooling == "max" else None  # TFLite has only some pads for averages
        return b.graph(b.pool(x, pooling, kernel, stride=stride, same=coin, pads=pads))
    if kind == "lookup":
        return b.graph(b.lookup(x, str(rng.choice(FUNCTIONS))))
    if kind == "lstm":
        return b.graph(random_lstm(rng, b, x))
    if kind == "log_softmax":
        rows = random_view(rng, b, x)
        return b.graph(b.log_softmax(rows if b.tensors[rows].shape[-1] <= LONGEST_LOG_SOFTMAX else x))
    if kind == "softmax":
        beta = float(np.float32(rng.choice([1.0, 0.37, 2.0, 5.1])))
        rows = random_view(rng, b, x)  # ONNX Runtime returns 0 for a softmax of one element
        return b.graph(b.softmax(rows if coin and b.tensors[rows].shape[-1] > 1 else b.reshape(x, (1, size)), beta))
    if kind == "reshape":
        _, height, width, channels = b.tensors[x].shape
        return b.graph(b.reshape(x, (1, width, channels, height) if coin else (1, height * width, channels)))
    if kind in ("table", "prelu"):
        return b.graph(b.table(x) if kind == "table" else b.prelu(x))
    if kind == "broadcast":
        return b.graph(random_broadcast(rng, b, x))
    if kind in MOVEMENT_KINDS:
        return b.graph(random_movement(b, rng, kind, x))
    if kind == "concat":
        return b.graph(b.concat(x, b.pool(x, "max", (1, 1)), int(rng.integers(1, 4))))
    raise ValueError(kind)


def small_net(rng: Rng, *, grn: bool, shape: tuple[int, int, int] = (20, 14, 1)) -> Graph:
    """A small CP-Mobile: stem, inverted residual with shortcut, strided one, optional GRN, head, mean."""
    b = Builder(rng, f"small_{'grn' if grn else 'plain'}", shape)
    x = b.conv(b.input, (3, 3), channels=5, stride=(2, 2), pads=(1, 1, 1, 1), relu=True)
    x = b.conv(x, (3, 3), channels=8, stride=(1, 1), pads=(1, 1, 1, 1), relu=True)
    wide = b.conv(b.conv(x, (1, 1), channels=20, relu=True), (3, 3), pads=(1, 1, 1, 1), relu=True)
    x = b.add(b.conv(wide, (1, 1), channels=8), x, relu=not grn)
    if grn:
        x = b.grn(x)
    wide = b.conv(b.conv(x, (1, 1), channels=18, relu=True), (3, 3), stride=(2, 1), pads=(0, 1, 1, 1), relu=True)
    x = b.conv(wide, (1, 1), channels=11, relu=not grn)
    if grn:
        x = b.grn(x)
    x = b.conv(x, (1, 1), channels=10)
    return b.graph(b.mean(x, keep_dims=False))


def random_input(rng: Rng, graph: Graph, batch: int = 1) -> Any:
    """int8 codes over the whole range, with the extremes well represented."""
    shape = (batch, *row_shape(graph, graph.inputs))
    codes = rng.integers(-128, 128, shape)
    return np.where(rng.random(shape) < 0.1, rng.choice([-128, 127], shape), codes).astype(np.int8)


FUNCTIONS = get_args(ops.Function)
OP_KINDS = (
    *("conv2d", "depthwise_conv2d", "add", "mul", "mean", "reduce", "rsqrt"),
    *("fully_connected", "batch_matmul", "sub", "pool2d", "lookup", "softmax", "log_softmax", "reshape", "concat"),
    *("broadcast", "table", "prelu"),
    *MOVEMENT_KINDS,
    *SPREAD_KINDS,
    *("lstm", "squared_difference", "extremum", "l2_norm"),
)
