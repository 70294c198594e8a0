"""Run an ONNX file made elsewhere in ONNX Runtime, its own operators and types.

Arguments: ``uint8`` or ``int8`` (the default optimisations, which make integer kernels of operators between
DequantizeLinear and QuantizeLinear, with the option that activations of this type need) or ``float`` (none: these
operators are float32), then for each of the graph's inputs the graph's axis for each of the file's. No roundings of the
file are dropped. Reads the graph, the file and vectors of int8 codes; writes the outputs for each vector by
``VECTOR.OUTPUT``, numbers from 0. A file that ONNX Runtime does not load is one that it cannot run.
"""

from __future__ import annotations

import platform
import resource
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import ORT_SESSION_CONFIG
from tinyscene.runtime.file_names import ONNX_MODEL
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.npz import Arrays
from tinyscene.runtime.vectors import parted

from .job import UNSUPPORTED, Job, read_job
from .records import EngineRecord

DROPS_ROUNDINGS = ["DoubleQDQPairsRemover"]  # of quantisers that follow one another all but one
TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


def opened(job: Job) -> Any:
    """The session of the file."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if job.arguments[0] == "float":
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.add_session_config_entry(ORT_SESSION_CONFIG[job.arguments[0]], "1")
    data = (job.folder / ONNX_MODEL).read_bytes()
    try:
        return ort.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], disabled_optimizers=DROPS_ROUNDINGS
        )
    except Exception as problem:  # ONNX Runtime has a type for each of its statuses
        print(" ".join(str(problem).split())[:300], file=sys.stderr)
        sys.exit(UNSUPPORTED)


def file_inputs(session: Any, graph: Graph, orders: tuple[str, ...], vector: I8) -> dict[str, npt.NDArray[Any]]:
    """What the file reads for one vector of codes: codes, or the real numbers that they stand for."""
    types = {each.name: TYPES[each.type] for each in session.get_inputs()}
    arrays = {}
    for (name, codes), order in zip(parted(graph, graph.inputs, vector).items(), orders, strict=True):
        turned = np.ascontiguousarray(codes.transpose([int(axis) for axis in order.split(",")]))
        real = dequantise(turned, graph.tensors[name].quant)
        stored = {"int8": turned, "uint8": (turned.astype(np.int16) + 128).astype(np.uint8)}
        arrays[name] = stored.get(types[name], real.astype(types[name]))
    return arrays


def main(job: Job) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    session, graph = opened(job), job.graph()
    outputs: Arrays = {}
    for at, vector in enumerate(np.asarray(job.inputs(), np.int8)):
        arrays = session.run(None, file_inputs(session, graph, job.arguments[1:], vector[None]))
        outputs |= {f"{at}.{number}": np.ascontiguousarray(array) for number, array in enumerate(arrays)}
    job.finish(EngineRecord(platform.machine(), "onnxruntime", ort.__version__, ()), outputs)


if __name__ == "__main__":
    main(read_job())
