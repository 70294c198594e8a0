"""An int8 TFLite file used like a bundle: its graph, its model files, and golden vectors computed on demand.

Such a file has no front end and no labels, so the vectors are random codes over the whole range, with its
extremes. Refuses what :mod:`tinyscene.export.formats.tflite_read` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.bounded_files import read_model
from tinyscene.runtime.bundle import Golden
from tinyscene.runtime.constant_layers import without_constant_layers
from tinyscene.runtime.graph import Graph

from .tflite_file import Int8File
from .tflite_read import builder_of
from .tflite_rebuild import rebuilt
from .tflite_write import to_tflite

GOLDEN_VECTORS = 8


@dataclass(frozen=True, eq=False)
class TfliteModel:
    """``data``: the file written again from its validated records, from int8 codes to int8 codes.

    ``constant_layers``: names of layers that are the same for every input, and of those that only they read; constants
    take their place in the graph, and the file keeps them.
    """

    graph: Graph
    data: bytes
    constant_layers: tuple[str, ...] = ()

    def file(self, name: str) -> bytes:
        """The rebuilt file for a name ending in ``.tflite``, otherwise its graph as ONNX."""
        if name.endswith(".tflite"):
            return self.data
        from .onnx_write import to_onnx

        return to_onnx(self.graph)

    def golden(self, count: int = GOLDEN_VECTORS, seed: int = 0) -> Golden:
        """Random codes, one in ten of them an extreme of the range, with the interpreter's activations for them."""
        rng = np.random.default_rng(seed)
        shape = (count, *self.graph.tensors[self.graph.input].shape[1:])
        codes = rng.integers(-128, 128, shape)
        extremes = rng.random(shape) < 0.1
        return Golden.of(self.graph, np.where(extremes, rng.choice([-128, 127], shape), codes).astype(np.int8))


def open_tflite(path: Path) -> TfliteModel:
    """Read a file.

    Raises:
        RuntimeFailure: the file cannot be read.
        ExportError: it is not an int8 network of supported operators.
    """
    return tflite_model(read_model(path), str(path), path.stem)


def tflite_model(data: bytes, where: str, name: str | None = None) -> TfliteModel:
    """As :func:`open_tflite`, for the bytes of a file; ``where`` names it in messages."""
    file = Int8File(data, where)
    builder = builder_of(file)
    graph, left_out = without_constant_layers(builder.graph(name))
    # XNNPACK leaves layers with a scale of 0 to kernels that round otherwise; a file without operators has none to run.
    return TfliteModel(graph, to_tflite(graph) if builder.rewritten else rebuilt(file), left_out)
