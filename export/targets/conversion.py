"""The network as another maker's converter wrote it, compared with the integer graph.

Operators are matched by their inputs, so their order in the file does not matter. Codes of weights and biases must be
equal; a scale may differ by a step or two of float32, because converters compute it from a range (and a bias's from two
scales), and the activations behind it may then differ by one code at near-ties. Any other difference is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Node, Tensor
from tinyscene.runtime.interpreter import run

MAX_SHARE = 1e-3  # of an activation's codes that such a scale may change
MAX_STEPS = 2
SCALES_OFF = "{off} of {all} scales differ by a step or two of float32: the converter computes them from ranges"
Pair = tuple[Tensor, Tensor]  # a tensor of our graph and its counterpart


@dataclass(frozen=True)
class Conversion:
    """Bytes of constants and activations that were compared.

    ``fault`` is the reason why it is not the same network; ``exceptions`` name known differences; ``whole`` is True
    where all parameters and activations were compared.
    """

    note: str
    whole: bool
    bytes_compared: int
    bytes_different: int = 0
    max_lsb: int = 0
    exceptions: tuple[str, ...] = ()
    fault: str = ""

    @property
    def status(self) -> Literal["equal", "named exception", "different", "converted"]:
        if self.fault:
            return "different"
        if not self.whole:
            return "converted"
        return "named exception" if self.exceptions else "equal"


@dataclass(frozen=True)
class _Counts:
    """Elements compared, those that differ, the largest difference, and the first fault."""

    compared: int = 0
    different: int = 0
    largest: int = 0
    fault: str = ""

    def plus(self, other: _Counts) -> _Counts:
        return _Counts(
            self.compared + other.compared,
            self.different + other.different,
            max(self.largest, other.largest),
            self.fault or other.fault,
        )


def compare_graphs(ours: Graph, theirs: Graph, inputs: I8, note: str) -> Conversion:
    """Compare every op with its attributes and constants, then every activation for ``inputs`` (n, H, W, C)."""
    pairs, unmatched = match_tensors(ours, theirs)
    if unmatched:
        return Conversion(f"{note}; {unmatched}: only scores are compared", False, 0)
    scales, constants = _Counts(), _Counts()
    for pair in pairs:
        scales, constants = scales.plus(_compare_scales(*pair)), constants.plus(_compare_constants(*pair))
    exceptions = (SCALES_OFF.format(off=scales.different, all=scales.compared),) if scales.different else ()
    names = [(mine.name, other.name) for mine, other in pairs if mine.data is None]
    activations = _compare_activations(ours, theirs, inputs, names, near_ties=bool(scales.different))
    codes = constants.plus(activations)
    return Conversion(
        note, True, codes.compared, codes.different, codes.largest, exceptions, scales.fault or codes.fault
    )


def match_tensors(ours: Graph, theirs: Graph) -> tuple[list[Pair], str]:
    """Every tensor of ours with its counterpart; or no pairs, and a description of the first op without one."""
    name_of = {ours.input: theirs.input}
    pairs = [(ours.tensors[ours.input], theirs.tensors[theirs.input])]
    left = list(theirs.nodes)
    for node in ours.nodes:
        sources = [name_of[name] for name in _activations(ours, node)]
        twin = next((t for t in left if t.op == node.op and list(_activations(theirs, t)) == sources), None)
        if twin is None or [t.shape for t in ours.ins(node)] != [t.shape for t in theirs.ins(twin)]:
            return [], f"it writes '{node.name}' ({ops.OPS[type(node.op)].name}) as another op"
        left.remove(twin)
        name_of[node.output] = twin.output
        tensors = zip((*ours.ins(node), ours.out(node)), (*theirs.ins(twin), theirs.out(twin)), strict=True)
        pairs += [(a, b) for a, b in tensors if a.data is not None or a.name == node.output]
    return pairs, f"it adds '{left[0].name}' ({ops.OPS[type(left[0].op)].name})" if left else ""


def _activations(graph: Graph, node: Node) -> Iterator[str]:
    return (tensor.name for tensor in graph.ins(node) if tensor.data is None)


def _compare_scales(mine: Tensor, other: Tensor) -> _Counts:
    a, b = np.asarray(mine.quant.scale, np.float32), np.asarray(other.quant.scale, np.float32)
    if a.shape != b.shape or mine.quant.zero_point != other.quant.zero_point:
        return _Counts(fault=f"'{mine.name}' has another quantisation: {_quant_text(other)}, not {_quant_text(mine)}")
    off = np.abs(a - b)
    fault = ""
    if (off > MAX_STEPS * np.spacing(np.maximum(a, b))).any():
        fault = f"'{mine.name}' has another scale: {_quant_text(other)}, not {_quant_text(mine)}"
    return _Counts(off.size, int(np.count_nonzero(off)), fault=fault)


def _compare_constants(mine: Tensor, other: Tensor) -> _Counts:
    """Counts in bytes; a tensor is compared where both have data and one quantisation."""
    same_quant = len(mine.quant.scale) == len(other.quant.scale) and mine.quant.zero_point == other.quant.zero_point
    if mine.data is None or other.data is None or not same_quant:
        return _Counts()
    wrong = int(np.count_nonzero(mine.data != other.data))
    fault = f"{wrong} of {mine.data.size} codes of '{mine.name}' differ" if wrong else ""
    return _Counts(mine.data.nbytes, wrong, fault=fault)


def _compare_activations(
    ours: Graph, theirs: Graph, inputs: I8, names: list[tuple[str, str]], near_ties: bool
) -> _Counts:
    """All activations, by the rule ``double``; ``near_ties``: a few codes may differ by 1."""
    our_trace: dict[str, I8] = {}
    their_trace: dict[str, I8] = {}
    for graph, trace in ((ours, our_trace), (theirs, their_trace)):
        run(graph, inputs, rounding="double", trace=trace)
    total = _Counts()
    for mine, other in names:
        if mine not in our_trace:  # the input itself
            continue
        off = np.abs(our_trace[mine].astype(np.int16) - their_trace[other])
        wrong, largest = int(np.count_nonzero(off)), int(off.max())
        fault = ""
        if wrong and not (near_ties and largest == 1 and wrong <= max(1.0, MAX_SHARE * off.size)):
            fault = f"{wrong:,} of {off.size:,} codes of '{mine}' differ, by at most {largest}"
        total = total.plus(_Counts(off.size, wrong, largest, fault))
    return total


def _quant_text(tensor: Tensor) -> str:
    first, more = tensor.quant.scale[0], len(tensor.quant.scale) > 1
    return f"scale {first:.9g}{', ...' if more else ''}, zero point {tensor.quant.zero_point}"
