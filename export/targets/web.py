"""Engines of web pages: onnxruntime-web on the .onnx file and LiteRT.js on the .tflite file, run in Node.js.

Both are the C++ of ONNX Runtime and LiteRT, compiled to WebAssembly with SIMD, on one thread. They are npm packages in
an environment of :mod:`.environments`; a missing one is an ExportError with the command that creates it. Refuses what
the engine does not load, and what the same engine refuses outside the browser.
"""

from __future__ import annotations

from typing import Literal

from tinyscene.runtime import onnx_tables
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engine_limits import require_within_limits
from tinyscene.runtime.engine_ranges import require_supported
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.file_names import ONNX_MODEL, TFLITE_MODEL
from tinyscene.runtime.tflite_tables import read_tables
from tinyscene.runtime.vectors import joined

from .environments import web_python
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import WebRecord

Name = Literal["ort-web", "litert-web"]
# The engine outside the browser, whose kernels and limits they share.
SAME_AS: dict[str, str] = {"ort-web": "ort", "litert-web": "litert"}


class WebEngine:
    """A model file in WebAssembly (see :class:`tinyscene.runtime.engines.Engine`), with every output of the file.

    Raises:
        ExportError: the packages are missing. RuntimeFailure: a node is beyond a limit of these kernels.
    """

    rounding: Rounding = "single"

    def __init__(self, files: ModelFiles, name: Name) -> None:
        self.name: str = name
        self.notes: tuple[str, ...] = ()
        self._graph, self._file = files.graph, ONNX_MODEL if name == "ort-web" else TFLITE_MODEL
        self._model = files.file(self._file)
        where = f"engine {name}, model file"
        require_supported(files.graph, SAME_AS[name])
        if self._file == ONNX_MODEL:
            onnx_tables.require_plain(onnx_tables.read_summary(self._model, where), where)
        else:
            require_within_limits(read_tables(self._model, where), SAME_AS[name])
        self._worker = Worker("web", LocalPython(web_python()), WebRecord, Failure(name))

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        output = self._worker.run(JobInput((self.name,), self._graph, codes, {self._file: self._model}))
        self.notes = (f"version {output.record.version} in Node.js {output.record.node}",)
        return output.arrays

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs alone, int8 (batch, ...)."""
        return joined(self._graph, self._graph.outputs, self.outputs(codes))
