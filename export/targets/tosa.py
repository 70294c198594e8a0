"""TOSA, the specification that Ethos-U implements: the .tflite file, converted and run on its reference model.

Converter, optimiser and reference model are Arm's, from the package index, in an environment of their own; a missing
one is an ExportError with the command that creates it. Refuses what the converter gives another meaning or shape.
"""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.tflite_tables import read_tables
from tinyscene.runtime.vectors import joined

from ..errors import ExportError
from .environments import tosa_python
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import TosaRecord

NAME = "tosa"


class TosaEngine:
    """A .tflite file on TOSA's reference model (see :class:`tinyscene.runtime.engines.Engine`).

    Raises:
        ExportError: the packages are missing, or the converter changes an op of the network.
    """

    def __init__(self, files: ModelFiles) -> None:
        self.name = NAME
        self.rounding: Rounding = "double"
        self.notes: tuple[str, ...] = ()
        self._graph, self._model = files.graph, files.file(TFLITE_MODEL)
        for node in files.graph.nodes:
            if reason := _converted_otherwise(node.op):
                raise ExportError(f"engine {NAME}", f"node '{node.name}': {reason}", unsupported=True)
        self._worker = Worker(NAME, LocalPython(tosa_python()), TosaRecord, Failure(NAME))

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        output = self._worker.run(JobInput(inputs=codes, files={TFLITE_MODEL: self._model}))
        record = output.record
        self.notes = (f"converter {record.converter}, reference model {record.tools}",)
        graph = read_tables(self._model, f"engine {NAME}, model file").subgraphs[0]
        names = [graph.tensors[index].name for index in graph.outputs.tolist()]
        activations = {name: output.arrays[str(number)] for number, name in enumerate(names)}
        for name, array in activations.items():
            shape = self._graph.tensors[name].shape
            if array.shape[1:] != shape[1:]:
                what = f"the converter gives '{name}' another shape"
                raise ExportError(f"engine {NAME}", what, expected=shape, got=array.shape, unsupported=True)
        return activations

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs alone, int8 (batch, ...)."""
        return joined(self._graph, self._graph.outputs, self.outputs(codes))


def _converted_otherwise(op: ops.Op) -> str:
    """Why the converted op computes something else, or an empty text."""
    if isinstance(op, ops.Table):
        return "a table begins with a CAST of codes, from which the converter subtracts the zero point"
    if isinstance(op, ops.Resize) and (op.kind, op.grid) == ("nearest", "asymmetric"):
        return "TFLite takes the element before a place, TOSA the nearest"
    return ""
