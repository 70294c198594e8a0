"""Vectors of a graph: what it reads in one run, or writes, as one row of an array.

Codes of one tensor have its shape, (n, H, W, C). Codes of several tensors lie side by side, (n, bytes), in the graph's
order, as in the files of firmware. So an array of n vectors is cut, joined and stored in one way for every graph.
Refuses codes of another type or shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .arith import dequantise, quantise
from .arrays import F32, I8
from .errors import RuntimeFailure
from .graph import Graph
from .ops import Shape

Element = TypeVar("Element", bound=np.generic)


def row_shape(graph: Graph, names: tuple[str, ...]) -> Shape:
    """The shape of one vector of these tensors, ``graph.inputs`` or ``graph.outputs``."""
    shapes = [graph.tensors[name].shape[1:] for name in names]
    return shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),)


def joined(graph: Graph, names: tuple[str, ...], arrays: Mapping[str, npt.NDArray[Element]]) -> npt.NDArray[Element]:
    """The arrays (n, ...) of these tensors as one array of vectors."""
    if len(names) == 1:
        return arrays[names[0]]
    return np.concatenate([arrays[name].reshape(len(arrays[name]), -1) for name in names], axis=1)


def parted(graph: Graph, names: tuple[str, ...], rows: npt.NDArray[Element]) -> dict[str, npt.NDArray[Element]]:
    """The array (n, ...) of each of these tensors, by name, from vectors of :func:`row_shape`."""
    if len(names) == 1:
        return {names[0]: rows}
    shapes = [graph.tensors[name].shape[1:] for name in names]
    parts = np.split(rows, np.cumsum([math.prod(shape) for shape in shapes])[:-1], axis=1)
    return {
        name: np.ascontiguousarray(part).reshape(len(rows), *shape)
        for name, part, shape in zip(names, parts, shapes, strict=True)
    }


def dequantised(graph: Graph, names: tuple[str, ...], codes: I8) -> F32:
    """Real values of vectors of codes, in the same shape."""
    parts = parted(graph, names, codes)
    return joined(graph, names, {name: dequantise(part, graph.tensors[name].quant) for name, part in parts.items()})


def quantised(graph: Graph, names: tuple[str, ...], real: F32) -> I8:
    """Codes of vectors of real values, in the same shape."""
    parts = parted(graph, names, real)
    return joined(graph, names, {name: quantise(part, graph.tensors[name].quant) for name, part in parts.items()})


def require_codes(
    graph: Graph, codes: npt.NDArray[np.generic], where: str, *, names: tuple[str, ...] = (), empty: bool = False
) -> None:
    """Refuse what is not an array of vectors of ``names``, all inputs by default; ``empty``: none may be in it."""
    names = names or graph.inputs
    expected = row_shape(graph, names)
    if codes.dtype != np.int8 or codes.shape[1:] != expected or (len(codes) == 0 and not empty):
        described = f"int8 (batch, {', '.join(map(str, expected))})"
        if len(names) > 1:
            described += f", the codes of {', '.join(repr(name[:40]) for name in names)} side by side"
        what, got = "wrong shape or type", f"{codes.dtype} {codes.shape}"
        raise RuntimeFailure(f"{where}, input", what, expected=described, got=got)
