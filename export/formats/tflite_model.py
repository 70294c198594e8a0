"""An int8 TFLite file of any maker where a bundle could stand: its graph, its file, and vectors made on the spot.

There is no front end and no labels in it, so its inputs are codes: random ones over the whole range, the extremes among
them. Refuses what :mod:`tinyscene.export.formats.tflite_read` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.bundle import Golden
from tinyscene.runtime.graph import Graph

from ..errors import ExportError
from .tflite_file import Int8File
from .tflite_read import graph_of

GOLDEN_VECTORS = 8


@dataclass(frozen=True, eq=False)
class TfliteModel:
    """``data`` is the file as it was made, from int8 codes to int8 codes."""

    graph: Graph
    data: bytes

    def file(self, name: str) -> bytes:
        """The file itself, or its graph as ONNX."""
        if name.endswith(".tflite"):
            return self.data
        from .onnx_write import to_onnx

        return to_onnx(self.graph)

    def golden(self, count: int = GOLDEN_VECTORS, seed: int = 0) -> Golden:
        """Random codes, one in ten of them an end of the range, and what the interpreter makes of them."""
        rng = np.random.default_rng(seed)
        shape = (count, *self.graph.tensors[self.graph.input].shape[1:])
        codes = rng.integers(-128, 128, shape)
        codes = np.where(rng.random(shape) < 0.1, rng.choice([-128, 127], shape), codes).astype(np.int8)
        return Golden.of(self.graph, codes)


def open_tflite(path: Path) -> TfliteModel:
    """Read a file.

    Raises:
        ExportError: there is none, or it is not an int8 network of known operators.
    """
    if not path.is_file():
        raise ExportError(str(path), "no such file", next_step="check the path")
    data = path.read_bytes()
    file = Int8File(data, str(path))
    return TfliteModel(graph_of(file, path.stem), file.int8_bytes(data))
