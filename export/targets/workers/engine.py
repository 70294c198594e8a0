"""Run one of the engines of ``tinyscene.runtime`` in a process of its own, or inside the emulated Raspberry Pi.

Arguments: the engine's name, and for ONNX Runtime the type of the file's activations. Reads the graph, the engine's
model file and int8 inputs (n, H, W, C); writes every output by name, int8 (n, ...). A native engine that crashes ends
this process and no other; no core file is written.
"""

from __future__ import annotations

import importlib.metadata
import platform
import resource
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.engines import Engine, OrtEngine, engine_row
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.file_names import ONNX_MODEL
from tinyscene.runtime.graph import Graph

from .job import Job, read_job, refuse
from .records import EngineRecord

PACKAGES = {"ort": "onnxruntime", "tflm": "tflite-micro"}  # of all others: ai-edge-litert


@dataclass(frozen=True)
class JobFiles:
    """The files of a job as :class:`tinyscene.runtime.engines.ModelFiles`."""

    graph: Graph
    job: Job

    def file(self, name: str) -> bytes:
        return (self.job.folder / name).read_bytes()


def opened(job: Job) -> Engine:
    name, *codes = job.arguments
    files = JobFiles(job.graph(), job)
    if codes == ["int8"]:
        return OrtEngine(files.graph, files.file(ONNX_MODEL), codes="int8")
    return engine_row(name).open(files, 1)


def main(job: Job) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        engine = opened(job)
    except TinysceneError as problem:
        if not problem.unsupported:
            raise
        refuse(str(problem))
    outputs = engine.outputs(np.asarray(job.inputs(), np.int8))
    package = PACKAGES.get(job.arguments[0], "ai-edge-litert")
    version = importlib.metadata.version(package)
    job.finish(EngineRecord(platform.machine(), package, version, tuple(engine.notes)), outputs)


if __name__ == "__main__":
    main(read_job())
