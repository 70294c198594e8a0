"""The parts of one call in C: its record, the record's fields and the constant arrays they point to.

Also the functions that compute, from a graph, the fields that kernels of different CPUs share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rescale, Rounding, clamp_range
from tinyscene.runtime.arrays import I8, I64
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.plan import Lead

PORTABLE_HEADER = "ts_kernels.h"  # declares the portable kernels
LARGEST_STEP = 255  # the largest code minus zero point

BYTES_OF = {
    "int8_t": 1,
    "int16_t": 2,
    "uint16_t": 2,
    "int32_t": 4,
    "TsRescale": 8,
    "TsDspRescale": 12,
    "TsDspQuad": 36,
    "TsDspChannel": 24,
}

Fields = dict[str, object]  # C field name -> int, float, Scale, Macro, Values, ByRule, or nested Fields


@dataclass(frozen=True)
class Scale:
    """One rescaling factor for both rounding rules, emitted as TS_RESCALE(multiplier, shift, factor).

    ``Graph.check`` bounds the ratios of scales, so that shifts are in [-31, 8].
    """

    multiplier: int
    shift: int
    factor: float = 0.0  # 0 for a step that only the fixed-point rule has


@dataclass(frozen=True)
class Macro:
    """A C macro of a kernel set's header and its arguments; the macro selects the values of the rounding rule."""

    name: str
    arguments: tuple[int | float, ...]


@dataclass(frozen=True)
class ByRule:
    """Fields and arrays that depend on the rounding rule."""

    double: Fields
    single: Fields


@dataclass(frozen=True)
class Values:
    """A constant array of a C type in :data:`BYTES_OF`. It begins on a multiple of four bytes, for wide loads."""

    c_type: str
    values: tuple[int, ...] | tuple[float, ...] | tuple[Scale, ...] | tuple[Macro, ...]

    @property
    def n_bytes(self) -> int:
        return len(self.values) * BYTES_OF[self.c_type]


@dataclass(frozen=True)
class Layer:
    """One call, kernel(&record, inputs..., output), and the record's fields.

    A kernel with ``scratch_bytes`` gets a pointer to that many bytes of the arena as one more argument. ``leaner``:
    variants of the call with less scratch memory and more instructions, the fastest first.
    """

    kernel: str
    record: str
    fields: Fields
    scratch_bytes: int = 0
    header: str = PORTABLE_HEADER
    n_inputs: int | None = None  # number of activations it reads; None: all of the node's
    inputs_in_array: bool = False  # one argument with all addresses, for a kernel of any number of inputs
    lead: Lead | None = None  # how the output may overlap the first input; None: not at all
    leaner: tuple[Layer, ...] = ()

    @property
    def portable(self) -> bool:
        """Whether the kernel is the C99 one, which every CPU can run."""
        return self.header == PORTABLE_HEADER

    def arrays(self) -> Iterator[Values]:
        """Every constant array of the record and of nested records."""
        return _arrays(self.fields)


def _arrays(fields: Fields) -> Iterator[Values]:
    for value in fields.values():
        if isinstance(value, Values):
            yield value
        elif isinstance(value, dict):
            yield from _arrays(value)
        elif isinstance(value, ByRule):  # one of the two is compiled; both have the same size
            yield from _arrays(value.double)


def window_fields(
    graph: Graph,
    node: Node,
    op: ops.Conv2D | ops.DepthwiseConv2D | ops.TransposeConv2D | ops.Pool2D,
    kernel: tuple[int, ...],
) -> Fields:
    """Fields of the record TsWindow; the pads of a transposed convolution are what is cropped."""
    x, out = graph.ins(node)[0], graph.out(node)
    pads = op.crop if isinstance(op, ops.TransposeConv2D) else op.pads
    return {
        "in_height": x.shape[1],
        "in_width": x.shape[2],
        "out_height": out.shape[1],
        "out_width": out.shape[2],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": op.stride[0],
        "stride_width": op.stride[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
    }


def is_plain(graph: Graph, node: Node) -> bool:
    """Whether a convolution has no dilation and one group, a depthwise one as many outputs as inputs."""
    op, (x, weight, _) = node.op, graph.ins(node)
    if isinstance(op, ops.DepthwiseConv2D):
        return op.dilation == (1, 1) and weight.shape[3] == x.shape[3]
    return isinstance(op, ops.Conv2D) and op.dilation == (1, 1) and op.groups == 1


def output_fields(quant: Quant, relu: bool) -> Fields:
    """Fields of the record TsOutput."""
    low, high = clamp_range(quant, relu)
    return {"zero_point": quant.zero_point, "low": low - quant.zero_point, "high": high - quant.zero_point}


def relu_of(node: Node) -> bool:
    """Whether the op ends with a ReLU."""
    return ops.has_relu(node.op)


def table_by_rule(table: Callable[[Rounding], I8]) -> ByRule:
    """The field ``table`` for each rounding rule."""
    double, single = (Values("int8_t", tuple(table(rule).tolist())) for rule in ("double", "single"))
    return ByRule({"table": double}, {"table": single})


def lookup_layer(out: Tensor, table: Callable[[Rounding], I8]) -> Layer:
    """A table with one output code per input code; emitted once where both rounding rules give the same."""
    by_rule = table_by_rule(table)
    same = by_rule.double == by_rule.single
    fields: Fields = {"size": out.n_bytes, "table": by_rule.double["table"] if same else by_rule}
    return Layer("ts_lookup", "TsLookup", fields, n_inputs=1)


def codes_of(tensor: Tensor) -> I64:
    """Codes of a constant as int64, in its shape."""
    assert tensor.data is not None
    codes: I64 = tensor.data.astype(np.int64)
    return codes


def scales_of(rescale: Rescale) -> tuple[Scale, ...]:
    """The entries of a rescaling as :class:`Scale` records."""
    entries = zip(rescale.multiplier.tolist(), rescale.shift.tolist(), rescale.factor.tolist(), strict=True)
    return tuple(Scale(*entry) for entry in entries)
