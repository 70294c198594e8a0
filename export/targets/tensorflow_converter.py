"""TensorFlow as an independent converter: given our ranges and real weights, its file is compared with ours.

TensorFlow builds the network from its own float ops and its own fake quantisation, computes scales, codes and biases
itself, and writes a .tflite file without :mod:`tinyscene.runtime.tflite_write`. That file is read, compared
parameter by parameter and activation by activation, and run in LiteRT beside ours. Refuses what TensorFlow refuses.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import LiteRTEngine, ModelFiles
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.graph import Graph

from ..errors import ExportError
from ..formats.tflite_read import from_tflite
from .conversion import Conversion, compare_graphs
from .environments import tensorflow_python
from .other_tflite import QUIET
from .subprocesses import Failure
from .worker import JobInput, LocalPython, Worker
from .workers.records import ConverterRecord


def converted_by_tensorflow(files: ModelFiles, inputs: I8) -> Conversion:
    """Convert the graph with TensorFlow, compare with the graph, and with our file in LiteRT; inputs (n, H, W, C).

    Raises:
        ExportError: TensorFlow is missing, or refuses the network.
    """
    content, version = tensorflow_file(files.graph)
    try:
        theirs = from_tflite(content, where="TensorFlow's file")
    except ExportError as problem:  # for example, a part that its converter left in float32
        what = "writes another network, which is not read"
        raise ExportError("tensorflow-converter", what, got=str(problem), unsupported=True) from problem
    conversion = compare_graphs(files.graph, theirs, inputs, f"version {version}; {len(content):,} B")
    scores = LiteRTEngine(theirs, content).output_codes(inputs)
    our_scores = LiteRTEngine(files.graph, files.file(TFLITE_MODEL)).output_codes(inputs)
    off = np.abs(scores.astype(np.int16) - our_scores)
    text = f"in LiteRT {np.count_nonzero(off):,} of {off.size:,} scores differ from those of our file"
    if off.any():
        text += f", by at most {off.max()}"
    return replace(conversion, note=f"{conversion.note}; {text}")


def tensorflow_file(graph: Graph) -> tuple[bytes, str]:
    """The file that TensorFlow writes for a graph, and TensorFlow's version."""
    failure = Failure("tensorflow-converter", "does not convert the network")
    worker = Worker("tensorflow_converter", LocalPython(tensorflow_python(), QUIET), ConverterRecord, failure)
    output = worker.run(JobInput(graph=graph))
    return output.files["converted.tflite"], output.record.version
