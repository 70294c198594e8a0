"""TensorFlow as an independent converter: it is told our ranges and real weights, and its file is compared with ours.

TensorFlow builds the network from its own float ops and its own fake quantisation, works out scales, codes and biases
by itself, and writes a .tflite file; nothing of :mod:`tinyscene.export.formats.tflite_write` takes part. That file is
read, compared parameter by parameter and activation by activation, and run in LiteRT beside ours. Refuses what
TensorFlow refuses.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import LiteRTEngine, ModelFiles
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.graph_io import write_graph

from ..formats.tflite_read import from_tflite
from .conversion import Conversion, compared
from .other_tflite import TIMEOUT_SECONDS, quiet_environment, tensorflow_python
from .subprocesses import WORKERS, last_line, place_runtime, run_program

WORKER = WORKERS / "tensorflow_converter.py"


def converted_by_tensorflow(files: ModelFiles, inputs: I8) -> Conversion:
    """What TensorFlow's converter makes of the graph, against the graph and ours in LiteRT; inputs (n, H, W, C).

    Raises:
        ExportError: TensorFlow cannot be had, or refuses the network.
    """
    content, version = tensorflow_file(files.graph)
    theirs = from_tflite(content, where="TensorFlow's file")
    found = compared(files.graph, theirs, inputs, f"version {version}; {len(content):,} B")
    answers = LiteRTEngine(theirs, content).output_codes(inputs)
    ours = LiteRTEngine(files.graph, files.file(TFLITE_MODEL)).output_codes(inputs)
    off = np.abs(answers.astype(np.int16) - ours)
    said = f"run in LiteRT, {np.count_nonzero(off):,} of {off.size:,} scores differ from our file's"
    if off.any():
        said += f", by {off.max()} at most"
    return replace(found, note=f"{found.note}; {said}")


def tensorflow_file(graph: Graph) -> tuple[bytes, str]:
    """The file that TensorFlow writes for a graph, and TensorFlow's version."""
    python = tensorflow_python()
    with tempfile.TemporaryDirectory(prefix="tinyscene-converter-") as name:
        folder = Path(name)
        write_graph(folder, graph)
        place_runtime(folder)
        done = run_program(
            [str(python), str(WORKER), name],
            "tensorflow-converter",
            "does not convert the network",
            environment=quiet_environment() | {"PYTHONPATH": name},
            timeout_seconds=TIMEOUT_SECONDS,
        )
        return (folder / "converted.tflite").read_bytes(), last_line(done.stdout)
