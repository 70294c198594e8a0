"""Runs a .tflite file with an interpreter that must not share our process: tflite-runtime or TensorFlow.

A program for another Python than ours, with nothing but numpy and that package:
``python foreign_worker.py MODULE default|reference MODEL INPUTS OUTPUTS``, INPUTS an .npy of int8 (n, H, W, C), OUTPUTS
the .npz of every output by name. Prints the package's version.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np


def interpreter(module: str, kernels: str, model: str) -> Any:
    package = importlib.import_module(module)
    lite = package.lite if module == "tensorflow" else importlib.import_module("tflite_runtime.interpreter")
    experimental = lite.experimental if module == "tensorflow" else lite
    resolver = experimental.OpResolverType.BUILTIN_REF if kernels == "reference" else experimental.OpResolverType.AUTO
    print(package.__version__)
    return lite.Interpreter(model_path=model, num_threads=1, experimental_op_resolver_type=resolver)


def main(module: str, kernels: str, model: str, inputs: str, outputs: str) -> None:
    machine = interpreter(module, kernels, model)
    machine.allocate_tensors()
    source = machine.get_input_details()[0]["index"]
    results: dict[str, tuple[int, list[Any]]] = {
        detail["name"]: (detail["index"], []) for detail in machine.get_output_details()
    }
    for codes in np.load(inputs):
        machine.set_tensor(source, codes[None])
        machine.invoke()
        for index, found in results.values():
            found.append(machine.get_tensor(index)[0])
    np.savez(outputs, **{name: np.stack(found) for name, (_, found) in results.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
