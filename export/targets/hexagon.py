"""Qualcomm's Hexagon as an engine: the .onnx file is compiled for it whole and run in Qualcomm's simulator.

onnxruntime-qnn brings both, for x86-64 Linux. The simulator shows what the processor would compute, not how fast; the
network has not been on a phone. Refuses files of which an op would be left to the CPU, naming the op. A crash of
Qualcomm's libraries ends a process of its own and is an error that says so.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.file_names import ONNX_MODEL
from tinyscene.runtime.install_hint import install_hint
from tinyscene.runtime.onnx_tensors import from_onnx_outputs, to_onnx_input

from ..errors import ExportError
from .subprocesses import WORKERS, last_line, run_program

WORKER = WORKERS / "hexagon.py"
TIMEOUT_SECONDS = 900


class HexagonEngine:
    """``model.onnx`` on a simulated Hexagon (see :class:`tinyscene.runtime.engines.Engine`); each output of the file is
    shown.

    Raises:
        ExportError: onnxruntime-qnn is not installed.
    """

    name = "hexagon"
    rounding: Rounding = "single"

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self.notes: tuple[str, ...] = ()
        if importlib.util.find_spec("onnxruntime_qnn") is None:
            raise ExportError("onnxruntime-qnn", "is not installed", next_step=install_hint("npu"), missing=True)

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        graph = self._files.graph
        with tempfile.TemporaryDirectory(prefix="tinyscene-hexagon-") as name:
            folder = Path(name)
            (folder / "model.onnx").write_bytes(self._files.file(ONNX_MODEL))
            np.save(folder / "inputs.npy", to_onnx_input(graph, codes))
            command = [sys.executable, str(WORKER), "model.onnx", "inputs.npy", "outputs.npz"]
            done = run_program(command, self.name, folder=folder, timeout_seconds=TIMEOUT_SECONDS)
            said = json.loads(last_line(done.stdout))
            self.notes = (
                f"every op on Hexagon v{said['architecture']}, compiled to {said['compiled_bytes']:,} B and simulated "
                f"by onnxruntime-qnn {said['version']}",
            )
            with np.load(folder / "outputs.npz") as found:
                return from_onnx_outputs(graph, {key: found[key] for key in found})

    def output_codes(self, codes: I8) -> I8:
        """The graph's output alone, int8 (batch, ...)."""
        return self.outputs(codes)[self._files.graph.output]
