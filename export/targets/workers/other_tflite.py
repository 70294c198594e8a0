"""Run a .tflite file with an interpreter that must not share our process: tflite-runtime, TensorFlow, LiteRT on uint8.

Arguments: ``tflite_runtime``, ``tensorflow`` or ``ai_edge_litert``, then ``default`` or ``reference`` kernels. Reads
model.tflite and int8 inputs (n, ...), one vector a row; writes every output of the file by name, int8 (n, ...), rows
of one vector after another where the first axis has several. Codes of uint8 are 128 higher in the file. Refuses files
with an operator that the interpreter has no kernel of, and what LiteRT does not load.
"""

from __future__ import annotations

import importlib
import resource
from typing import Any

import numpy as np

from tinyscene.runtime.arrays import I8

from .job import Job, read_job, refuse
from .records import TfliteRecord

MISSING_KERNEL = "Didn't find op"  # in the message of an older release about a version of an operator


def opened(job: Job) -> Any:
    """The interpreter of the file."""
    module, kernels = job.arguments
    lite = importlib.import_module("tensorflow").lite if module == "tensorflow" else None
    lite = lite or importlib.import_module(f"{module}.interpreter")
    resolvers = (lite.experimental if module == "tensorflow" else lite).OpResolverType
    resolver = resolvers.BUILTIN_REF if kernels == "reference" else resolvers.AUTO
    model = str(job.folder / "model.tflite")
    try:
        interpreter = lite.Interpreter(model_path=model, num_threads=1, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as problem:  # LiteRT gets a user's operators and types, the others ours
        if module != "ai_edge_litert" and MISSING_KERNEL not in str(problem):
            raise
        refuse(str(problem).splitlines()[0])
    return interpreter


def main(job: Job) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    interpreter = opened(job)
    sources = interpreter.get_input_details()
    ends = np.cumsum([np.prod(source["shape"]) for source in sources])[:-1]
    index_of: dict[str, int] = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    outputs: dict[str, list[I8]] = {name: [] for name in index_of}
    for codes in job.inputs():
        interpreter.reset_all_variables()  # each input starts with the state of LSTMs at zero
        for source, part in zip(sources, np.split(codes.ravel(), ends), strict=True):
            stored = part.view(np.uint8) ^ 128 if source["dtype"] is np.uint8 else part
            interpreter.set_tensor(source["index"], stored.reshape(source["shape"]))
        interpreter.invoke()
        for name, index in index_of.items():
            tensor = np.atleast_1d(interpreter.get_tensor(index))
            outputs[name].append((tensor ^ 128).view(np.int8) if tensor.dtype == np.uint8 else tensor)
    version = importlib.import_module(job.arguments[0]).__version__
    job.finish(TfliteRecord(version), {name: np.concatenate(rows) for name, rows in outputs.items()})


if __name__ == "__main__":
    main(read_job())
