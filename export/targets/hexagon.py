"""Qualcomm's Hexagon as an engine: the whole .onnx file is compiled for it and run in Qualcomm's simulator.

onnxruntime-qnn has both, for x86-64 Linux. The simulator shows what the processor would compute, not how fast; nothing
was run on a phone. Refuses graphs with an op of :mod:`.hexagon_limits`, and files of which an op would be left to the
CPU, naming the op. A crash of Qualcomm's libraries ends a process of its own and is an ExportError with the signal.
"""

from __future__ import annotations

import importlib.util

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.file_names import ONNX_MODEL
from tinyscene.runtime.install_hint import install_hint
from tinyscene.runtime.onnx_tensors import from_onnx_outputs, to_onnx_inputs
from tinyscene.runtime.vectors import joined

from ..errors import ExportError
from .hexagon_limits import require_computed
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import HexagonRecord

WORKER = Worker("hexagon", LocalPython(), HexagonRecord, Failure("hexagon"))


class HexagonEngine:
    """``model.onnx`` with one input on a simulated Hexagon (see :class:`tinyscene.runtime.engines.Engine`), with every
    output of the file.

    Raises:
        ExportError: onnxruntime-qnn is not installed, or computes an op of the graph with another result.
    """

    name = "hexagon"
    rounding: Rounding = "single"

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self.notes: tuple[str, ...] = ()
        if importlib.util.find_spec("onnxruntime_qnn") is None:
            raise ExportError("onnxruntime-qnn", "is not installed", next_step=install_hint("npu"), missing=True)
        files.graph.require_one_each()
        require_computed(files.graph)

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        graph = self._files.graph
        files, name = {ONNX_MODEL: self._files.file(ONNX_MODEL)}, graph.input
        output = WORKER.run(JobInput(inputs=to_onnx_inputs(graph, {name: codes})[name], files=files))
        record = output.record
        self.notes = (
            f"every op on Hexagon v{record.architecture}, compiled to {record.compiled_bytes:,} B and simulated "
            f"by onnxruntime-qnn {record.version}",
        )
        return from_onnx_outputs(graph, output.arrays)

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs alone, int8 (batch, ...)."""
        return joined(self._files.graph, self._files.graph.outputs, self.outputs(codes))
