"""The integer graph, from which every model file and all firmware is emitted.

A graph is a function of its inputs. A network that keeps states between runs has them as inputs and outputs, and
:class:`State` says which output of a run is which input of the next one. Activations are int8 in NHWC with the batch
first (stored as 1, any batch runs); real = scale * (q - zero_point).
:meth:`Graph.check` is called wherever a graph enters and refuses wrong references, shapes, types and scales,
and graphs that are too large for a device. The annotations of the records are the schema of a stored graph
(:mod:`tinyscene.runtime.graph_io`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from . import ops
from .errors import RuntimeFailure
from .op_ranges import PROBABILITY_SCALE, PROBABILITY_ZERO_POINT, quantisation_problem
from .ops import Shape
from .printable import short_name
from .records import Length, Range, check_record, name_text

# A Raspberry Pi computes 10^10 multiply-accumulates in some seconds and has room for all activations at once; no
# microcontroller has 16 MiB of flash for constants. The arena's planner needs minutes for more live activations.
MOST_NODES = 1024
MOST_TENSORS = 4096
MOST_INPUTS = 1024  # of a node
MOST_ENDS = 32  # inputs of a graph, and outputs, with the states of a streaming network
MOST_ALIVE = 64  # activations at one step
LARGEST_CONSTANTS_BYTES = 2**24
LARGEST_ACTIVATIONS_BYTES = 2**26  # of all activations of the graph
MOST_MACS = 10**10
LOWEST_SCALE, HIGHEST_SCALE = 2.0**-40, 2.0**40  # of whole tensors: their squares and ratios stay normal in float32

Name = Annotated[str, name_text(4096)]  # TFLite converters join the names of fused layers
Title = Annotated[str, name_text(256)]
Labels = Annotated[tuple[Title, ...], Length(0, 4096)]
Ends = Annotated[tuple[Name, ...], Length(1, MOST_ENDS)]
Code = Annotated[int, Range(-128, 127)]
Scale = Annotated[float, Range(2.0**-100, 2.0**80)]  # of a channel, or of a bias, which is a product of two scales
Dtype = Literal["int8", "int32"]
Array = npt.NDArray[np.int8] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class Quant:
    """Affine quantisation. ``scale`` has one entry, or one per slice along ``axis``; values are exact float32."""

    scale: Annotated[tuple[Scale, ...], Length(1, 2**16)]
    zero_point: Annotated[int, Range(-128, 127)] = 0
    axis: Annotated[int, Range(0, ops.HIGHEST_RANK - 1)] | None = None

    @staticmethod
    def per_tensor(scale: float, zero_point: int) -> Quant:
        return Quant((float(np.float32(scale)),), int(zero_point))

    @staticmethod
    def per_channel(scale: npt.ArrayLike, axis: int) -> Quant:
        return Quant(tuple(float(s) for s in np.asarray(scale, np.float32)), 0, axis)


LOG_MEL = "log_mel"  # input tensor of every graph with a front end that is lowered from a network, and
OUTPUT_NAME = "scores"  # output tensor of every graph that is lowered from a network with one output
PROBABILITY = Quant.per_tensor(PROBABILITY_SCALE, PROBABILITY_ZERO_POINT)


@dataclass(frozen=True)
class TensorRecord:
    """A tensor without its data, as it is stored."""

    name: Name
    shape: Shape
    dtype: Dtype
    quant: Quant
    constant: bool


@dataclass(frozen=True, eq=False)
class Tensor:
    """One edge of the graph. Constants carry ``data``; activations do not."""

    name: str
    shape: Shape
    dtype: Dtype
    quant: Quant
    data: Array | None = None

    @property
    def record(self) -> TensorRecord:
        return TensorRecord(self.name, self.shape, self.dtype, self.quant, self.data is not None)

    @property
    def n_bytes(self) -> int:
        """Bytes of one batch entry."""
        return math.prod(self.shape) * (1 if self.dtype == "int8" else 4)


@dataclass(frozen=True)
class Node:
    """One op applied to named tensors, writing one tensor."""

    name: Name
    op: ops.Op
    inputs: Annotated[tuple[Name, ...], Length(1, MOST_INPUTS)]
    output: Name


@dataclass(frozen=True)
class State:
    """What a run hands to the next one: the codes of ``output`` are those of ``input`` in the next run.

    ``initial``: codes before the first run, one for all elements or one for each.
    """

    input: Name
    output: Name
    initial: Annotated[tuple[Code, ...], Length(1, 2**20)]


States = Annotated[tuple[State, ...], Length(0, MOST_ENDS - 1)]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in execution order over named tensors, int8 inputs, int8 outputs, and the labels of an only output.

    ``states``: their inputs are the last of ``inputs``, and their outputs the last of ``outputs``, in the same order.
    """

    name: str
    tensors: dict[str, Tensor]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    labels: tuple[str, ...] = field(default=())
    states: tuple[State, ...] = field(default=())

    @property
    def given(self) -> tuple[str, ...]:
        """The inputs that a run gets from outside: all but the states."""
        return self.inputs[: len(self.inputs) - len(self.states)]

    @property
    def results(self) -> tuple[str, ...]:
        """The outputs that are not only the states of the next run."""
        return self.outputs[: len(self.outputs) - len(self.states)]

    @property
    def input(self) -> str:
        """The only input but for states, for what is about one: refused where there are several."""
        return self._only("inputs", self.given)

    @property
    def output(self) -> str:
        """The only output, likewise."""
        return self._only("outputs", self.results)

    def require_one_each(self) -> None:
        """Refuse several inputs, several outputs, and states between runs."""
        self.require_no_states("this")
        self._only("inputs", self.inputs)
        self._only("outputs", self.outputs)

    def require_no_states(self, what: str) -> None:
        """Refuse a network that keeps states between runs; ``what`` needs one without."""
        if self.states:
            problem = f"keeps states between runs, where {what} takes a network without"
            raise self._more_than_one_function(problem, None, tuple(state.input for state in self.states))

    def _only(self, what: str, names: tuple[str, ...]) -> str:
        if len(names) != 1:
            raise self._more_than_one_function(f"has several {what}, where this takes a network with one", 1, names)
        return names[0]

    def _more_than_one_function(self, problem: str, expected: object, names: tuple[str, ...]) -> RuntimeFailure:
        """The refusal of what is no function from one input to one output."""
        listed = ", ".join(short_name(name) for name in names[:4]) + (", ..." if len(names) > 4 else "")
        step = "check, inspect, run, bench, quality, firmware (export), verify with other targets take it"
        where, got = f"graph '{self.name}'", f"{len(names)}: {listed}"
        return RuntimeFailure(where, problem, expected=expected, got=got, next_step=step, unsupported=True)

    def ins(self, node: Node) -> tuple[Tensor, ...]:
        return tuple(self.tensors[name] for name in node.inputs)

    def out(self, node: Node) -> Tensor:
        return self.tensors[node.output]

    def activations(self) -> Iterator[Tensor]:
        """The inputs, then the output of each node, in order."""
        for name in self.inputs:
            yield self.tensors[name]
        for node in self.nodes:
            yield self.tensors[node.output]

    def writers(self) -> dict[str, str]:
        """What writes each activation, by its name: ``input``, ``state``, or the name of an op."""
        ends = dict.fromkeys(self.given, "input") | {state.input: "state" for state in self.states}
        return ends | {node.output: ops.OPS[type(node.op)].name for node in self.nodes}

    def constants(self) -> Iterator[Tensor]:
        """Weights and biases in the order of first use."""
        seen: set[str] = set()
        for node in self.nodes:
            for tensor in self.ins(node):
                if tensor.data is not None and tensor.name not in seen:
                    seen.add(tensor.name)
                    yield tensor

    def check(self) -> Graph:
        """Return self, or raise RuntimeFailure for the first error."""
        _check_names(self)
        for tensor in self.tensors.values():
            _check_tensor(self, tensor)
        written = set(self.inputs)
        for node in self.nodes:
            _check_node(self, node, written)
            written.add(node.output)
        for name in self.outputs:
            if name not in written or name in self.inputs:
                self.refuse(name, "the graph's output is not written by any node")
        _check_states(self)
        if self.labels and (classes := self.tensors[self.output].shape[-1]) != len(self.labels):
            self.refuse("labels", "not one per output", expected=classes, got=len(self.labels))
        _check_size(self)
        return self

    def refuse(self, where: str, what: str, *, expected: object = None, got: object = None) -> NoReturn:
        raise RuntimeFailure(f"graph '{self.name}', {where}", what, expected=expected, got=got)


@dataclass(frozen=True)
class GraphNames:
    """Names and labels of a graph, as they are stored."""

    name: Title
    inputs: Ends
    outputs: Ends
    labels: Labels
    states: States


def _check_names(graph: Graph) -> None:
    record = GraphNames(graph.name, graph.inputs, graph.outputs, graph.labels, graph.states)
    check_record(record, f"graph {graph.name[:80]!r}")
    for what, number, most in (("tensors", len(graph.tensors), MOST_TENSORS), ("nodes", len(graph.nodes), MOST_NODES)):
        if number > most:
            graph.refuse(what, "too many", expected=f"at most {most:,}", got=f"{number:,}")
    for name in graph.inputs:
        if name not in graph.tensors or graph.tensors[name].data is not None:
            graph.refuse(name, "the graph's input is not an activation")
    for what, ends in (("input", graph.inputs), ("output", graph.outputs)):
        if len(set(ends)) != len(ends):
            graph.refuse(next(name for name in ends if ends.count(name) > 1), f"is an {what} twice")
    names = [node.name for node in graph.nodes]
    if len(set(names)) != len(names):
        graph.refuse(next(name for name in names if names.count(name) > 1), "name of several nodes")
    for key, tensor in graph.tensors.items():
        if key != tensor.name:
            graph.refuse(key, "stored under another name", expected=key, got=tensor.name)


def _check_tensor(graph: Graph, tensor: Tensor) -> None:
    key, axis, scale = tensor.name, tensor.quant.axis, np.asarray(tensor.quant.scale)
    if not tensor.shape or min(tensor.shape) < 1 or (tensor.data is None and tensor.shape[0] != 1):
        what, expected = ("activation", "(1, ...)") if tensor.data is None else ("constant", "one axis or more")
        graph.refuse(key, f"{what} shape", expected=f"{expected} without zeros", got=tensor.shape)
    if len(tensor.shape) > ops.HIGHEST_RANK or math.prod(tensor.shape) > ops.LARGEST_TENSOR_ELEMENTS:
        expected = f"at most {ops.HIGHEST_RANK} axes and {ops.LARGEST_TENSOR_ELEMENTS:,} elements"
        graph.refuse(key, "too large", expected=expected, got=tensor.shape)
    if not (np.isfinite(scale).all() and (scale > 0).all() and (scale == scale.astype(np.float32)).all()):
        graph.refuse(key, "scale not a positive float32", got=tensor.quant.scale[:4])
    if axis is not None and not 0 <= axis < len(tensor.shape):
        graph.refuse(key, "axis of the scales", expected=f"0 to {len(tensor.shape) - 1}", got=axis)
    entries = 1 if axis is None else tensor.shape[axis]
    if len(scale) != entries:
        graph.refuse(key, "wrong number of scales", expected=entries, got=len(scale))
    if tensor.data is None:
        if tensor.dtype != "int8" or axis is not None or not -128 <= tensor.quant.zero_point <= 127:
            graph.refuse(key, "not a per-tensor int8 activation", got=f"{tensor.dtype} {tensor.quant.zero_point}")
    elif tensor.data.shape != tensor.shape or tensor.data.dtype != np.dtype(tensor.dtype):
        expected, got = f"{tensor.dtype} {tensor.shape}", f"{tensor.data.dtype} {tensor.data.shape}"
        graph.refuse(key, "constant does not match its record", expected=expected, got=got)
    if axis is None and tensor.dtype == "int8" and not LOWEST_SCALE <= scale[0] <= HIGHEST_SCALE:
        graph.refuse(key, "scale out of bounds", expected=f"{LOWEST_SCALE:g} to {HIGHEST_SCALE:g}", got=scale[0])
    check_record(tensor.record, f"graph '{graph.name}', {key}")


def _check_node(graph: Graph, node: Node, written: set[str]) -> None:
    row = ops.OPS.get(type(node.op))
    if row is None:
        graph.refuse(node.name, "op not in the op table", expected=[r.name for r in ops.OPS.values()], got=node.op)
    check_record(node, f"graph '{graph.name}', {node.name}")
    if row.n_inputs not in (None, len(node.inputs)):
        graph.refuse(node.name, f"inputs do not fit the op ({len(node.inputs)}, expected {row.n_inputs})")
    for name in (*node.inputs, node.output):
        if name not in graph.tensors:
            graph.refuse(node.name, f"tensor '{name}' does not exist")
    ins, out = graph.ins(node), graph.out(node)
    for tensor in ins[: row.n_activations]:
        if tensor.data is None and tensor.name not in written:
            graph.refuse(node.name, f"reads '{tensor.name}' before it is written")
        if tensor.dtype != "int8" or tensor.quant.axis is not None:
            got = f"{tensor.dtype}, axis {tensor.quant.axis}"
            graph.refuse(node.name, f"constant input '{tensor.name}'", expected="int8 with one scale", got=got)
    if out.data is not None or node.output in written:
        graph.refuse(node.name, f"writes '{node.output}', which has another writer")
    try:
        shape = row.shape(node.op, *(tensor.shape for tensor in ins))
    except ValueError as problem:
        graph.refuse(node.name, f"inputs do not fit the op ({problem})")
    if shape != out.shape:
        graph.refuse(node.name, "output shape", expected=shape, got=out.shape)
    weight = ins[1].shape if ops.has_weight(node.op) else ()
    windows = ops.window_elements(node.op, weight, ins[0].shape, out.shape)
    if windows > ops.LARGEST_WINDOWS:
        graph.refuse(node.name, "windows too large", expected=f"at most {ops.LARGEST_WINDOWS:,} elements", got=windows)
    if ops.has_weight(node.op):
        _check_weight(graph, node)
    wrong = quantisation_problem(node.op, ins, out)
    if wrong is not None:
        graph.refuse(node.name, wrong[0], expected=wrong[1], got=wrong[2])


def _check_states(graph: Graph) -> None:
    """States are the last ends, beside at least one input and one output, and what is handed on fits."""
    read, written = (tuple(getattr(state, end) for state in graph.states) for end in ("input", "output"))
    for kind, ends, names in (("input", graph.inputs, read), ("output", graph.outputs, written)):
        if names and (len(ends) <= len(names) or ends[-len(names) :] != names):
            expected = f"one {kind} or more, then those of the states in their order"
            graph.refuse("states", f"not the last {kind}s", expected=expected, got=f"{len(ends)} {kind}s")
    for state in graph.states:
        source, target = graph.tensors[state.output], graph.tensors[state.input]
        if source.shape != target.shape:
            graph.refuse(state.output, "not the shape of the state", expected=target.shape, got=source.shape)
        if len(state.initial) not in (1, target.n_bytes):
            graph.refuse(state.input, "initial codes", expected=f"1 or {target.n_bytes}", got=len(state.initial))


def _check_size(graph: Graph) -> None:
    """Memory and time of the whole graph."""
    constants = sum(tensor.n_bytes for tensor in graph.tensors.values() if tensor.data is not None)
    activations = sum(tensor.n_bytes for tensor in graph.activations())
    for what, number, most in (
        ("bytes of constants", constants, LARGEST_CONSTANTS_BYTES),
        ("bytes of activations", activations, LARGEST_ACTIVATIONS_BYTES),
        ("multiply-accumulates", sum(_macs(graph, node) for node in graph.nodes), MOST_MACS),
        ("activations alive at one step", _alive_at_once(graph), MOST_ALIVE),
    ):
        if number > most:
            graph.refuse("size", f"too many {what}", expected=f"at most {most:,}", got=f"{number:,}")


def _macs(graph: Graph, node: Node) -> int:
    ins, out = graph.ins(node), graph.out(node)
    if isinstance(node.op, ops.TransposeConv2D):
        return math.prod(ins[1].shape) * ins[0].shape[1] * ins[0].shape[2]
    if ops.is_conv(node.op):
        return math.prod(ins[1].shape) * out.shape[1] * out.shape[2]
    if isinstance(node.op, ops.Pool2D):
        return math.prod(node.op.kernel) * out.n_bytes
    if ops.has_weight(node.op):
        return out.n_bytes * ins[1].shape[1]
    if isinstance(node.op, ops.BatchMatMul):
        return out.n_bytes * ops.matrix(ins[0].shape, node.op.adj_x)[1]
    if isinstance(node.op, ops.Lstm):
        return (ins[1].n_bytes + ins[2].n_bytes) * out.shape[1]
    return max(ins[0].n_bytes, out.n_bytes)


def _alive_at_once(graph: Graph) -> int:
    """The largest number of activations that are written and not yet read for the last time, outputs included."""
    activations = {*graph.inputs, *(node.output for node in graph.nodes)} - set(graph.outputs)
    last = {name: at for at, node in enumerate(graph.nodes) for name in (node.output, *node.inputs)}
    dying = Counter(last[name] for name in activations if name in last)
    alive = most = len(graph.inputs)
    for step in range(len(graph.nodes)):
        alive += 1
        most = max(most, alive)
        alive -= dying[step]
    return most


def _check_weight(graph: Graph, node: Node) -> None:
    x, weight, bias = graph.ins(node)
    if weight.data is None or bias.data is None or weight.dtype != "int8" or bias.dtype != "int32":
        graph.refuse(node.name, "weight and bias must be int8 and int32 constants")
    channel_axis = ops.weight_channel_axis(node.op)
    axes = (channel_axis, None) if isinstance(node.op, ops.FullyConnected) else (channel_axis,)
    if weight.quant.zero_point != 0 or weight.quant.axis not in axes:
        graph.refuse(node.name, "weight not symmetric per output channel")
    expected = np.float32(x.quant.scale[0]) * np.asarray(weight.quant.scale, np.float32)
    if not np.allclose(expected, bias.quant.scale, rtol=1e-6, atol=0.0) or bias.quant.zero_point != 0:
        graph.refuse(node.name, "bias scale is not input scale times weight scale")
