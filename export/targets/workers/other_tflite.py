"""Run a .tflite file with an interpreter that must not share our process: tflite-runtime or TensorFlow.

Arguments: ``tflite_runtime`` or ``tensorflow``, then ``default`` or ``reference`` kernels. Reads model.tflite and int8
inputs (n, ...), one vector a row; writes every output of the file by name, int8 (n, ...). Refuses files with an
operator that the interpreter has no kernel of.
"""

from __future__ import annotations

import importlib

import numpy as np

from tinyscene.runtime.arrays import I8

from .job import Job, read_job, refuse
from .records import TfliteRecord

MISSING_KERNEL = "Didn't find op"  # in the message of an older release about a version of an operator


def main(job: Job) -> None:
    module, kernels = job.arguments
    package = importlib.import_module(module)
    lite = package.lite if module == "tensorflow" else importlib.import_module("tflite_runtime.interpreter")
    resolvers = (lite.experimental if module == "tensorflow" else lite).OpResolverType
    resolver = resolvers.BUILTIN_REF if kernels == "reference" else resolvers.AUTO
    model = str(job.folder / "model.tflite")
    try:
        interpreter = lite.Interpreter(model_path=model, num_threads=1, experimental_op_resolver_type=resolver)
    except ValueError as problem:
        if MISSING_KERNEL not in str(problem):
            raise
        refuse(str(problem).splitlines()[0])
    interpreter.allocate_tensors()
    sources = interpreter.get_input_details()
    ends = np.cumsum([np.prod(source["shape"]) for source in sources])[:-1]
    index_of: dict[str, int] = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    outputs: dict[str, list[I8]] = {name: [] for name in index_of}
    for codes in job.inputs():
        interpreter.reset_all_variables()  # each input starts with the state of LSTMs at zero
        for source, part in zip(sources, np.split(codes.ravel(), ends), strict=True):
            interpreter.set_tensor(source["index"], part.reshape(source["shape"]))
        interpreter.invoke()
        for name, index in index_of.items():
            outputs[name].append(interpreter.get_tensor(index)[0])
    job.finish(TfliteRecord(package.__version__), {name: np.stack(rows) for name, rows in outputs.items()})


if __name__ == "__main__":
    main(read_job())
