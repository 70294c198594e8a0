"""An int8 ONNX file as it came, for ONNX Runtime: its own bytes, and the same file with its codes as further outputs.

:mod:`.onnx_read` has read the file, and says where the graph's activations are in it. Refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from tinyscene.runtime.arith import quantise
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.without_constants import WithoutConstants

from .onnx_read.values import Place, Places


@dataclass(frozen=True, eq=False)
class OnnxOriginal:
    """The bytes of a file, its graph, where its activations are in the file, and the graph of the model."""

    data: bytes
    graph: Graph
    places: Places
    reduced: WithoutConstants
    notes = ()

    def with_activations(self) -> bytes:
        """The file with the codes of its activations as further outputs, in the order of ``places``."""
        model = onnx.load_model_from_string(self.data)
        model.graph.output.extend(onnx.ValueInfoProto(name=place.name) for place in self.places.activations.values())
        return bytes(model.SerializeToString())

    def codes(self, name: str, place: Place, values: npt.NDArray[np.generic]) -> I8:
        """The reduced graph's codes of an output for one input: the file has codes, or real numbers."""
        tensor = self.graph.tensors[name]
        if len(place.order) == values.ndim:
            values = values.transpose(np.argsort(place.order))
        if values.dtype == np.uint8:
            values = (values.astype(np.int16) - 128).astype(np.int8)
        elif values.dtype != np.int8:
            values = quantise(values.astype(np.float32), tensor.quant)
        codes: I8 = np.ascontiguousarray(values).astype(np.int8).reshape(1, *tensor.shape[1:])
        return self.reduced.left(name, codes)
