"""Core ML, Apple's runtime: the graph is built in its ops, converted for iOS 17, and read back. Nothing is run.

Core ML itself exists on Apple's systems only. What this proves: every op of the network has a counterpart that
coremltools accepts, and in the package each activation is quantised to int8 and each weight stored as the graph's own
codes. What it does not: that a phone computes the same bytes, for Core ML rounds as its processor does.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.graph_io import write_graph
from tinyscene.runtime.install_hint import install_hint

from ..errors import ExportError
from .conversion import Conversion
from .subprocesses import WORKERS, last_line, place_runtime, run_program

WORKER = WORKERS / "coreml.py"
TIMEOUT_SECONDS = 600


def converted_for_coreml(files: ModelFiles, inputs: I8) -> Conversion:
    """What coremltools makes of the graph; ``inputs`` are of no use here.

    Raises:
        ExportError: coremltools is not installed, or refuses the network.
    """
    if importlib.util.find_spec("coremltools") is None:
        raise ExportError("coremltools", "is not installed", next_step=install_hint("npu"), missing=True)
    graph = files.graph
    with tempfile.TemporaryDirectory(prefix="tinyscene-coreml-") as name:
        folder = Path(name)
        write_graph(folder, graph)
        place_runtime(folder)
        done = run_program(
            [sys.executable, str(WORKER), name],
            "coreml",
            "does not convert the network",
            environment={**os.environ, "PYTHONPATH": name},
            timeout_seconds=TIMEOUT_SECONDS,
        )
    said = json.loads(last_line(done.stdout))
    note = (
        f"coremltools {said['version']} wrote the {len(graph.nodes)} ops as {said['operations']} for iOS 17, "
        f"{said['package_bytes']:,} B; not run, for Core ML exists on Apple's systems only"
    )
    fault = ""
    if said["weights_different"]:
        fault = f"{said['weights_different']:,} of {said['weights']:,} codes of weights are others"
    wanted = len(graph.nodes) + 1
    if said["quantised"] != wanted:
        fault = f"{said['quantised']} of {wanted} activations are quantised"
    return Conversion(note, False, said["weights"], said["weights_different"], fault=fault)
