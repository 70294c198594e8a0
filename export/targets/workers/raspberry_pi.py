"""Run one of the engines inside the emulated Raspberry Pi: ``tinyscene.runtime`` with the published arm64 wheels.

Argument: the engine's name. Reads the graph, the engine's model file and int8 inputs (n, H, W, C); writes every output
by name, int8 (n, ...).
"""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.engines import open_engine
from tinyscene.runtime.graph import Graph

from .job import Job, read_job
from .records import RaspberryPiRecord


@dataclass(frozen=True)
class JobFiles:
    """The files of a job as :class:`tinyscene.runtime.engines.ModelFiles`."""

    graph: Graph
    job: Job

    def file(self, name: str) -> bytes:
        return (self.job.folder / name).read_bytes()


def main(job: Job) -> None:
    (name,) = job.arguments
    engine = open_engine(name, JobFiles(job.graph(), job))
    outputs = engine.outputs(np.asarray(job.inputs(), np.int8))
    package = "onnxruntime" if name == "ort" else "ai-edge-litert"
    version = importlib.metadata.version(package)
    job.finish(RaspberryPiRecord(platform.machine(), package, version, tuple(engine.notes)), outputs)


if __name__ == "__main__":
    main(read_job())
