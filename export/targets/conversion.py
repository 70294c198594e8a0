"""What another maker's converter made of a network, held against the integer graph.

Operators are matched by what they read, so their order in the file does not matter. Codes of weights and biases must be
equal; a scale may be off by a step or two of float32, because converters compute it from a range (and a bias's from two
scales), and what follows from that may be off by one code at near ties. Anything else is a fault in words.
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

MAX_SHARE = 1e-3  # of an activation's codes that such a scale may move
MAX_STEPS = 2
STEPS_OFF = "{off} of {all} scales are off by a step or two of float32: the converter computes them from ranges"


@dataclass(frozen=True)
class Conversion:
    """Bytes of constants and activations that were compared. ``fault`` says why it is not the same network;
    ``exceptions`` what is known to be off; ``whole`` whether all parameters and activations were compared."""

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


def compared(ours: Graph, theirs: Graph, inputs: I8, note: str) -> Conversion:
    """Both graphs: every op with its attributes and constants, then every activation for ``inputs`` (n, H, W, C)."""
    twins, unmatched = matched(ours, theirs)
    if unmatched:
        return Conversion(f"{note}; {unmatched}: only scores are compared", False, 0)
    fault = ""
    total = different = scales = steps_off = 0
    for mine, other in twins:
        quants = np.asarray(mine.quant.scale, np.float32), np.asarray(other.quant.scale, np.float32)
        if quants[0].shape != quants[1].shape or mine.quant.zero_point != other.quant.zero_point:
            fault = fault or f"'{mine.name}' has another quantisation: {_short(mine)}, there {_short(other)}"
            continue
        off = np.abs(quants[0] - quants[1])
        if (off > MAX_STEPS * np.spacing(np.maximum(*quants))).any():
            fault = fault or f"'{mine.name}' has another scale: {_short(mine)}, there {_short(other)}"
        scales, steps_off = scales + off.size, steps_off + int(np.count_nonzero(off))
        if mine.data is not None and other.data is not None:
            wrong = int(np.count_nonzero(mine.data != other.data))
            if wrong:
                fault = fault or f"{wrong} of {mine.data.size} codes of '{mine.name}' are others"
            total, different = total + mine.data.nbytes, different + wrong
    exceptions = (STEPS_OFF.format(off=steps_off, all=scales),) if steps_off else ()
    activations = [(mine.name, other.name) for mine, other in twins if mine.data is None]
    off_by, wrong, size, moved = _run(ours, theirs, inputs, activations, allowed=bool(steps_off))
    return Conversion(note, True, total + size, different + wrong, off_by, exceptions, fault or moved)


def matched(ours: Graph, theirs: Graph) -> tuple[list[tuple[Tensor, Tensor]], str]:
    """Every tensor of ours with its twin, or in words the first op that has none."""
    name_of = {ours.input: theirs.input}
    twins = [(ours.tensors[ours.input], theirs.tensors[theirs.input])]
    left = list(theirs.nodes)
    for node in ours.nodes:
        read = [name_of[name] for name in _activations(ours, node)]
        twin = next((t for t in left if t.op == node.op and list(_activations(theirs, t)) == read), None)
        if twin is None or [t.shape for t in ours.ins(node)] != [t.shape for t in theirs.ins(twin)]:
            return [], f"it writes '{node.name}' ({ops.OPS[type(node.op)].name}) as something else"
        left.remove(twin)
        name_of[node.output] = twin.output
        pairs = zip((*ours.ins(node), ours.out(node)), (*theirs.ins(twin), theirs.out(twin)), strict=True)
        twins += [(a, b) for a, b in pairs if a.data is not None or a.name == node.output]
    return twins, f"it adds '{left[0].name}' ({ops.OPS[type(left[0].op)].name})" if left else ""


def _activations(graph: Graph, node: Node) -> Iterator[str]:
    return (tensor.name for tensor in graph.ins(node) if tensor.data is None)


def _run(
    ours: Graph, theirs: Graph, inputs: I8, names: list[tuple[str, str]], allowed: bool
) -> tuple[int, int, int, str]:
    """(largest difference, codes different, codes compared, fault) of all activations, by the rule ``double``."""
    traces: list[dict[str, I8]] = [{}, {}]
    for graph, trace in zip((ours, theirs), traces, strict=True):
        run(graph, inputs, rounding="double", trace=trace)
    largest = different = total = 0
    fault = ""
    for mine, other in names:
        if mine not in traces[0]:  # the input itself
            continue
        off = np.abs(traces[0][mine].astype(np.int16) - traces[1][other])
        wrong = int(np.count_nonzero(off))
        largest, different, total = max(largest, int(off.max())), different + wrong, total + off.size
        if wrong and not (allowed and off.max() == 1 and wrong <= max(1.0, MAX_SHARE * off.size)):
            fault = fault or f"{wrong:,} of {off.size:,} codes of '{mine}' are others, by {off.max()} at most"
    return largest, different, total, fault


def _short(tensor: Tensor) -> str:
    first, more = tensor.quant.scale[0], len(tensor.quant.scale) > 1
    return f"{first:.9g}{', ...' if more else ''} at {tensor.quant.zero_point}"
