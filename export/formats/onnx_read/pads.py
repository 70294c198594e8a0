"""Reader of Pad: a number around an activation, or its own elements; a negative pad cuts.

Refuses a number that has no code, where the activation has its codes already.
"""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise, quantise

from .builder import OnnxGraphBuilder
from .resizes import taken
from .slices import cut
from .values import Codes, Pending

_OWN_ELEMENTS = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}  # NumPy has the same names
_NEAR = 1e-3  # of a step: a number that a code stands for


def _pad(b: OnnxGraphBuilder) -> None:
    mode = b.attributes().get("mode", b"constant").decode()
    number = float(b.constant(2).ravel()[0]) if b.has(2) else float(b.attributes().get("value", 0.0))
    stated, axes = b.integers(1, "pads") or (), b.integers(3)
    has_codes = not isinstance(b.value(0), Pending)

    def padded(codes: Codes) -> Codes:
        rank = len(codes.order)
        given = [b.axis(axis, rank) for axis in axes] if axes is not None else list(range(rank))
        if len(stated) != 2 * len(given):
            b.refuse("pads", expected=f"{2 * len(given)} numbers", got=stated)
        pads = {axis: (stated[at], stated[at + len(given)]) for at, axis in enumerate(given)}
        for axis, (before, after) in pads.items():
            size = b.shape(codes)[axis]
            codes = cut(b, codes, axis, max(0, -before), size - max(0, -after), 1)
        grown = {axis: (max(0, before), max(0, after)) for axis, (before, after) in pads.items()}
        if mode in _OWN_ELEMENTS:
            return _with_own_elements(b, codes, grown, mode)
        if mode != "constant":
            b.refuse("limit: mode", expected=f"constant or {', '.join(_OWN_ELEMENTS)}", got=mode)
        return _with_number(b, codes, grown, number, exact=has_codes)

    b.move(padded)


def _with_own_elements(b: OnnxGraphBuilder, codes: Codes, pads: dict[int, tuple[int, int]], mode: str) -> Codes:
    for axis, (before, after) in pads.items():
        size = b.shape(codes)[axis]
        if mode == "reflect" and max(before, after) >= size:
            b.refuse("reflected pads", expected=f"less than {size}", got=(before, after))
        if before or after:
            places = np.pad(np.arange(size), (before, after), mode=mode)  # type: ignore[call-overload]
            codes = taken(b, codes, axis, [int(place) for place in places])
    return codes


def _with_number(
    b: OnnxGraphBuilder, codes: Codes, pads: dict[int, tuple[int, int]], number: float, *, exact: bool
) -> Codes:
    quant, rank = b.quant(codes), len(codes.order)
    code = quantise(np.full(1, number, np.float32), quant)
    if exact and abs(float(dequantise(code, quant)[0]) - number) > _NEAR * quant.scale[0]:
        b.refuse(
            "limit: padding with a number that has no code", expected=f"a multiple of {quant.scale[0]:g}", got=number
        )
    before, after = [0] * rank, [0] * rank
    for axis, ends in pads.items():
        before[codes.order[axis]], after[codes.order[axis]] = ends
    if not any((*before, *after)):
        return codes
    op = ops.Pad(tuple(before), tuple(after), int(code[0]))
    return Codes(b.node(b.added("pad"), op, (codes.name,), quant), codes.order)


ROWS = {"Pad": _pad}
