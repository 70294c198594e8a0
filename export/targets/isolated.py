"""Native engines on files made elsewhere, each in a worker process, whose death is an error of one target.

LiteRT, TFLite Micro and ONNX Runtime are written in C++; a file that passes every check here may still crash them. A
worker that a signal ends is an ExportError with the signal's name ("litert: died with SIGSEGV"), and one that does not
end is stopped. Refuses engines whose package is not installed, and files beyond an engine's limits, before a worker is
started.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engine_limits import require_within_limits
from tinyscene.runtime.engine_ranges import require_supported
from tinyscene.runtime.engines import ModelFiles, available_engines
from tinyscene.runtime.file_names import ONNX_MODEL, TFLITE_MODEL
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.onnx_tensors import OnnxCodes
from tinyscene.runtime.tflite_tables import read_tables
from tinyscene.runtime.vectors import joined

from ..errors import ExportError
from ..formats.tflite_model import tflite_model
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import EngineRecord

TIMEOUT_SECONDS = 900.0
MODEL_OF = {"ort": ONNX_MODEL, "litert": TFLITE_MODEL, "litert-reference": TFLITE_MODEL, "tflm": TFLITE_MODEL}


@dataclass(frozen=True, eq=False)
class Isolated:
    """Files made elsewhere, or written by this package for their graph: native engines run them in a worker."""

    files: ModelFiles

    @property
    def graph(self) -> Graph:
        return self.files.graph

    def file(self, name: str) -> bytes:
        return self.files.file(name)


def require_installed(engine: str, name: str) -> None:
    """Raise ExportError for the engine of a target ``name`` whose package is missing."""
    if reason := available_engines()[engine]:
        raise ExportError(f"engine {name}", "cannot be opened", got=reason, missing=True)


class WorkerEngine:
    """A native engine in a process of its own for every call (see :class:`tinyscene.runtime.engines.Engine`).

    Args:
        engine: of :data:`MODEL_OF`.
        files: the model; ``outputs`` returns the outputs of its file.
        codes: type of the activations in the file of ONNX Runtime.

    Raises:
        ExportError: the package is not installed.
        RuntimeFailure: the engine cannot run the graph, or an operator of the file.
    """

    def __init__(
        self, engine: str, files: ModelFiles, codes: OnnxCodes = "uint8", timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.name = engine if codes == "uint8" else f"{engine}-{codes}"
        require_installed(engine, self.name)
        require_supported(files.graph, self.name)
        if MODEL_OF[engine].endswith(".tflite"):
            require_within_limits(read_tables(files.file(MODEL_OF[engine]), f"engine {self.name}, model file"), engine)
        self.rounding: Rounding = "single" if engine in ("ort", "litert") else "double"
        self.notes: tuple[str, ...] = ()
        self._files, self._model = files, MODEL_OF[engine]
        self._arguments = (engine,) if codes == "uint8" else (engine, codes)
        self._worker = Worker("engine", LocalPython(), EngineRecord, Failure(self.name), timeout_seconds)

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        files = {self._model: self._files.file(self._model)}
        output = self._worker.run(JobInput(self._arguments, self._files.graph, codes, files))
        self.notes = output.record.notes
        return output.arrays

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs alone, int8 (batch, ...)."""
        return joined(self._files.graph, self._files.graph.outputs, self.outputs(codes))


def outputs_of_file(
    data: bytes, engine: str, *, where: str = "model.tflite", vectors: int = 2, timeout_seconds: float = 60.0
) -> dict[str, I8]:
    """Read a TFLite file as ``tinyscene verify`` does, and run it on random codes in a worker.

    Raises:
        ExportError: the file is refused, the engine refuses it, dies or takes too long.
    """
    model = tflite_model(data, where)
    inputs = model.golden(vectors).inputs
    return WorkerEngine(engine, model, timeout_seconds=timeout_seconds).outputs(inputs)
