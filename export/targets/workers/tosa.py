"""Convert a .tflite file to TOSA and run it on Arm's reference model of the specification.

Reads model.tflite and int8 inputs (n, ...), one vector a row; writes every output of the file, named by its number,
int8 (n, ...). The converter, the optimiser (which only writes the file of TOSA here) and the reference model are
programs of the packages tosa-converter-for-tflite and tosa-tools. Refuses what the converter has no form of.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.processes import Ended, run

from .job import Job, read_job, refuse
from .records import TosaRecord

PROGRAMS = Path(sys.executable).parent
CONVERTER, TOOLS = "tosa-converter-for-tflite", "tosa-tools"


def converted(job: Job) -> Path:
    """The file of TOSA."""
    bytecode, tosa = job.folder / "model.mlirbc", job.folder / "model.tosa"
    for words in (
        [CONVERTER, job.folder / "model.tflite", "--bytecode", "-o", bytecode],
        ["tosa-opt", bytecode, "--tosa-serialize", f"--tosa-flatbuffer-filename={tosa}", "-o", job.folder / "rest"],
    ):
        done = _run(words)
        if done.code or "error" in done.stderr.lower():
            lines = [line for line in (done.stderr + done.stdout).splitlines() if "error" in line.lower()]
            refuse((lines or ["no message"])[0])
    return tosa


def main(job: Job) -> None:
    model = converted(job)
    sources, results = _ends(model)
    ends = np.cumsum([np.prod(shape) for _, shape in sources])[:-1]
    inputs = [job.folder / f"input_{i}.npy" for i in range(len(sources))]
    outputs = [job.folder / f"output_{i}.npy" for i in range(len(results))]
    schema = Path(importlib.import_module("tosa").__file__ or "").parents[1] / "bin" / "tosa.fbs"
    words = ["tosa_reference_model", "--tosa_file", model, "--operator_fbs", schema]
    for option, values in (
        ("--ifm_name", [name for name, _ in sources]),
        ("--ifm_file", inputs),
        ("--ofm_name", [name for name, _ in results]),
        ("--ofm_file", outputs),
    ):
        words += [option, ",".join(map(str, values))]
    rows: list[list[I8]] = [[] for _ in results]
    for codes in job.inputs():
        for (_, shape), part, path in zip(sources, np.split(codes.ravel(), ends), inputs, strict=True):
            np.save(path, part.reshape(shape))
        done = _run(words)
        if done.code:
            sys.exit(f"the reference model ended with code {done.code}: {_last_line(done)}")
        for row, path in zip(rows, outputs, strict=True):
            row.append(np.atleast_1d(np.load(path)))
    versions = {package: importlib.metadata.version(package) for package in (CONVERTER, TOOLS)}
    record = TosaRecord(versions[CONVERTER], versions[TOOLS])
    job.finish(record, {str(number): np.concatenate(row) for number, row in enumerate(rows)})


def _run(words: Sequence[object]) -> Ended:
    program, *arguments = map(str, words)
    return run([str(PROGRAMS / program), *arguments])


def _last_line(done: Ended) -> str:
    return ((done.stderr + done.stdout).strip().splitlines() or ["no message"])[-1]


def _ends(model: Path) -> tuple[list[tuple[str, tuple[int, ...]]], list[tuple[str, tuple[int, ...]]]]:
    """Names and shapes of inputs and outputs."""
    graph: Any = importlib.import_module("tosa.TosaGraph").TosaGraph.GetRootAs(model.read_bytes())
    block = graph.Regions(0).Blocks(0)
    tensors = [block.Tensors(i) for i in range(block.TensorsLength())]
    shapes = {each.Name(): tuple(each.Shape(i) for i in range(each.ShapeLength())) for each in tensors}

    def named(names: Sequence[bytes]) -> list[tuple[str, tuple[int, ...]]]:
        return [(name.decode(), shapes[name]) for name in names]

    return (
        named([block.Inputs(i) for i in range(block.InputsLength())]),
        named([block.Outputs(i) for i in range(block.OutputsLength())]),
    )


if __name__ == "__main__":
    main(read_job())
