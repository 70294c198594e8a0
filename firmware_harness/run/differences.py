"""Compare what firmware computed with what the graph means, byte by byte, and name the first difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph

from ..errors import FirmwareError


@dataclass(frozen=True)
class Difference:
    """One layer whose output is not as expected: the first such element, (row, column, channel), and how many."""

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
    """Layers that differ, in order, for one vector; ``got`` need not show every layer.

    Args:
        expected, got: by tensor name, int8 in the tensor's shape without the batch.

    Raises:
        FirmwareError: the last layer is missing in ``got``, or one has another shape than expected.
    """
    found = []
    for index, node in enumerate(graph.nodes):
        if node.output not in got and node.output != graph.output:
            continue  # inside a call that runs several layers
        shape = graph.out(node).shape[1:]
        for side, arrays in (("expected values", expected), ("output of the firmware", got)):
            shown = arrays[node.output].shape if node.output in arrays else "nothing"
            if shown != shape:
                raise FirmwareError(f"layer {index} {node.name}, {side}", "not there", expected=shape, got=shown)
        wrong = np.argwhere(expected[node.output] != got[node.output])
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            want, have = int(expected[node.output][at]), int(got[node.output][at])
            found.append(Difference(index, node.name, at, want, have, len(wrong), int(np.prod(shape))))
    return tuple(found)
