"""Run a program of :mod:`tinyscene.export.targets.workers` in a Python of its own.

One protocol for all: a graph, inputs and files go in through a temporary folder; a typed record, arrays and files come
back. The program and ``tinyscene.runtime``, all that it may import of this project, are copied beside it, and ``-P``
keeps every other folder off its import path, so no file of the user or of the job shadows a module. A record with
other fields is refused.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

import tinyscene
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.graph_io import write_graph
from tinyscene.runtime.json_files import parse_json
from tinyscene.runtime.npz import Arrays, unpack_arrays
from tinyscene.runtime.records import read_record
from tinyscene.runtime.temporaries import temporary_folder

from .subprocesses import Failure, run_program
from .workers.job import INPUTS, OUTPUTS, RECORD, RESULTS
from .workers.records import Record

JOB, IMPORTS = "job", "imports"  # subfolders of the temporary folder
MODULES = ("__init__.py", "runtime", "export/__init__.py", "export/targets/__init__.py", "export/targets/workers")
R = TypeVar("R", bound=Record)


class Interpreter(Protocol):
    """A Python that runs workers."""

    def run(self, words: Sequence[str], folder: Path, failure: Failure, timeout_seconds: float) -> None:
        """Run ``python -P -m MODULE JOB ARGUMENT...``.

        Args:
            words: the module and its arguments behind the job's folder.
            folder: with the subfolders :data:`JOB` and :data:`IMPORTS`.
        """


@dataclass(frozen=True)
class LocalPython:
    """A Python on this machine; ``environment`` is added to this process's."""

    python: Path = field(default_factory=lambda: Path(sys.executable))
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, words: Sequence[str], folder: Path, failure: Failure, timeout_seconds: float) -> None:
        module, *arguments = words
        paths = [str(folder / IMPORTS)]
        if self.python == Path(sys.executable):  # this Python may find packages through PYTHONPATH, another must not
            paths += [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        run_program(
            [str(self.python), "-P", "-m", module, str(folder / JOB), *arguments],
            failure,
            folder=folder / JOB,
            environment={**os.environ, **self.environment, "PYTHONPATH": os.pathsep.join(paths)},
            timeout_seconds=timeout_seconds,
        )


@dataclass(frozen=True, eq=False)
class JobInput:
    """What a worker reads: words for its command line, a graph, inputs (one per row), files by name."""

    arguments: tuple[str, ...] = ()
    graph: Graph | None = None
    inputs: npt.NDArray[np.generic] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class JobOutput(Generic[R]):
    """What a worker wrote: its record, arrays by name, other files by name."""

    record: R
    arrays: Arrays
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Worker(Generic[R]):
    """A worker program, the Python that runs it, and the record that it writes.

    Args:
        program: a module of :mod:`tinyscene.export.targets.workers`.
        interpreter: the Python that runs it.
        record: the type of what it reports.
        failure: how messages describe a failure.
        timeout_seconds: wall-clock limit.
    """

    program: str
    interpreter: Interpreter
    record: type[R]
    failure: Failure
    timeout_seconds: float = 900.0

    def run(self, job: JobInput) -> JobOutput[R]:
        """Run the program on one job.

        Raises:
            TinysceneError: it failed, ran too long, or did not write the record.
        """
        with temporary_folder("worker") as folder:
            copy_modules(folder / IMPORTS)
            _write_job(folder / JOB, job)
            module = f"tinyscene.export.targets.workers.{self.program}"
            self.interpreter.run([module, *job.arguments], folder, self.failure, self.timeout_seconds)
            files = {path.name: path.read_bytes() for path in (folder / JOB / RESULTS).iterdir()}
        arrays = unpack_arrays(files.pop(OUTPUTS), f"{self.failure.where}, {OUTPUTS}") if OUTPUTS in files else {}
        return JobOutput(self._read_record(files.pop(RECORD, b"")), arrays, files)

    def _read_record(self, text: bytes) -> R:
        where = f"{self.failure.where}, {RECORD}"
        return read_record(self.record, parse_json(text, where, "written, or not JSON"), where)


def copy_modules(folder: Path) -> None:
    """Copy the workers and ``tinyscene.runtime`` to ``folder``, importable when it is on the path."""
    home = Path(tinyscene.__file__).parent
    for name in MODULES:
        source, target = home / name, folder / "tinyscene" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def _write_job(folder: Path, job: JobInput) -> None:
    (folder / RESULTS).mkdir(parents=True)
    for name, content in job.files.items():
        (folder / name).write_bytes(content)
    if job.graph is not None:
        write_graph(folder, job.graph)
    if job.inputs is not None:
        array = io.BytesIO()
        np.save(array, job.inputs)  # to a file, NumPy reports a full disk without its reason
        (folder / INPUTS).write_bytes(array.getbuffer())
