"""The type of a row: graph, node and float32 inputs (n, C, H, W) to the output before rounding."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tinyscene.runtime.graph import Graph, Node

Row = Callable[[Graph, Node, list[Tensor]], Tensor]
