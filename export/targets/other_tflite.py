"""Interpreters of .tflite files that need a Python of their own, as engines: tflite-runtime and TensorFlow.

tflite-runtime is still what many Raspberry Pis run. The environments are those of
:mod:`tinyscene.export.targets.environments`; a missing one is an ExportError with the command that creates it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engine_limits import require_within_limits
from tinyscene.runtime.engine_ranges import require_supported
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.tflite_tables import read_tables
from tinyscene.runtime.vectors import joined

from .environments import tensorflow_python, tflite_runtime_python
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import TfliteRecord

Module = Literal["tflite_runtime", "tensorflow"]
Kernels = Literal["default", "reference"]
# Without TensorFlow's own log and without accelerators.
QUIET: Mapping[str, str] = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}


class OtherTfliteEngine:
    """A .tflite file in another process (see :class:`tinyscene.runtime.engines.Engine`), with every output of the file.

    Args:
        module: ``tflite_runtime`` or ``tensorflow``.
        kernels: ``reference`` are the plain ones. ``default`` are XNNPACK's in TensorFlow (rule ``single``);
            tflite-runtime 2.14 runs int8 with its older optimised kernels, most of which follow ``double``.

    Raises:
        ExportError: the package is missing. RuntimeFailure: a node is beyond a limit of these kernels.
    """

    def __init__(self, graph: Graph, model: bytes, module: Module, kernels: Kernels) -> None:
        self.graph, self._model, self._arguments = graph, model, (module, kernels)
        xnnpack = kernels == "default" and module == "tensorflow"
        self.rounding: Rounding = "single" if xnnpack else "double"
        self.name = module.replace("_", "-") + ("-reference" if kernels == "reference" else "")
        self.notes: tuple[str, ...] = ()
        require_supported(graph, self.name)
        require_within_limits(read_tables(model, f"engine {self.name}, model file"), self.name)
        python = tensorflow_python() if module == "tensorflow" else tflite_runtime_python()
        self._worker = Worker("other_tflite", LocalPython(python, QUIET), TfliteRecord, Failure(self.name))

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        job = JobInput(self._arguments, inputs=codes, files={TFLITE_MODEL: self._model})
        output = self._worker.run(job)
        self.notes = (f"version {output.record.version}",)
        return output.arrays

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs alone, int8 (batch, ...)."""
        return joined(self.graph, self.graph.outputs, self.outputs(codes))
