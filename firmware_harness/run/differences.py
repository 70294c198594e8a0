"""Compare the output of firmware with the interpreter's, byte by byte, and report the first difference of each layer.

Refuses arrays of another shape than the graph's, and a missing output of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph

from ..errors import FirmwareError


@dataclass(frozen=True)
class Difference:
    """One layer whose output differs: the first differing element, (row, column, channel), and the counts."""

    layer: int
    name: str
    element: tuple[int, ...]
    expected: int
    got: int
    n_different: int
    n_elements: int

    def __str__(self) -> str:
        return (
            f"layer {self.layer} {self.name}, element {self.element}: expected {self.expected}, got {self.got}; "
            f"{self.n_different:,} of {self.n_elements:,} elements differ"
        )


def differences(graph: Graph, expected: Mapping[str, I8], got: Mapping[str, I8]) -> tuple[Difference, ...]:
    """Layers that differ for one vector, in the graph's order; layers inside a fused call may be missing in ``got``.

    Args:
        graph: the model.
        expected: int8 arrays by tensor name, in the tensor's shape without the batch.
        got: likewise.

    Raises:
        FirmwareError: an output of the graph is missing in ``got``, or one has another shape than expected.
    """
    differing = []
    for index, node in enumerate(graph.nodes):
        if node.output not in got and node.output not in graph.outputs:
            continue  # inside a fused call
        shape = graph.out(node).shape[1:]
        for side, arrays in (("expected values", expected), ("output of the firmware", got)):
            actual = arrays[node.output].shape if node.output in arrays else "nothing"
            if actual != shape:
                what = "missing or of another shape"
                raise FirmwareError(f"layer {index} {node.name}, {side}", what, expected=shape, got=actual)
        unequal = np.argwhere(expected[node.output] != got[node.output])
        if len(unequal):
            at = tuple(int(i) for i in unequal[0])
            codes = int(expected[node.output][at]), int(got[node.output][at])
            differing.append(Difference(index, node.name, at, *codes, len(unequal), int(np.prod(shape))))
    return tuple(differing)
