"""Worker processes: a job's graph, inputs and files go in, a validated record and arrays come back."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import random_input, small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.targets.subprocesses import Failure
from tinyscene.export.targets.worker import JOB, JobInput, LocalPython, Worker
from tinyscene.export.targets.workers.job import RECORD, RESULTS
from tinyscene.export.targets.workers.records import EngineRecord, TfliteRecord
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.interpreter import run

# Runs an engine of the runtime, NumPy's among them: the one program that needs no other package.
ENGINE_WORKER = Worker("engine", LocalPython(), EngineRecord, Failure("worker"))


def test_arrays_and_the_record_come_back() -> None:
    graph = small_net(np.random.default_rng(3), grn=False)
    x = random_input(np.random.default_rng(4), graph, 2)
    output = ENGINE_WORKER.run(JobInput(("numpy-double",), graph, x))
    assert output.record.package == "ai-edge-litert"
    assert output.record.machine == os.uname().machine
    assert set(output.arrays) >= {node.output for node in graph.nodes}
    assert np.array_equal(output.arrays[graph.output], run(graph, x, rounding="double"))


def test_no_file_shadows_a_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a file of the job nor one in the user's working folder is imported instead of a module."""
    broken = b"raise SystemExit('shadowed')"
    for name in ("json.py", "runtime.py", "export.py"):
        (tmp_path / name).write_bytes(broken)
    monkeypatch.chdir(tmp_path)
    graph = small_net(np.random.default_rng(3), grn=False)
    x = random_input(np.random.default_rng(4), graph, 1)
    files = {"numpy.py": broken, "platform.py": broken, "tinyscene.py": broken}
    output = ENGINE_WORKER.run(JobInput(("numpy-double",), graph, x, files))
    assert np.array_equal(output.arrays[graph.output], run(graph, x, rounding="double"))


def test_a_failure_has_the_last_line_of_the_program() -> None:
    graph = small_net(np.random.default_rng(3), grn=False)
    with pytest.raises(ExportError, match=r"^worker: failed; got .*engine 'no-such-engine': unknown"):
        ENGINE_WORKER.run(JobInput(("no-such-engine",), graph, random_input(np.random.default_rng(4), graph, 1)))


@dataclass(frozen=True)
class WrittenRecord:
    """An interpreter that runs nothing and writes ``text`` as the record."""

    text: str

    def run(self, words: Sequence[str], folder: Path, failure: Failure, timeout_seconds: float) -> None:
        (folder / JOB / RESULTS / RECORD).write_text(self.text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({"version": 2}), "version: wrong type"),
        (json.dumps({"version": "2", "speed": 1}), "speed: unknown field"),
        (json.dumps({}), "version: missing field"),
        ("not JSON", "not written, or not JSON"),
    ],
)
def test_a_record_of_another_form_is_refused(text: str, message: str) -> None:
    worker = Worker("other_tflite", WrittenRecord(text), TfliteRecord, Failure("worker"))
    with pytest.raises((ExportError, RuntimeFailure), match=message):
        worker.run(JobInput())


def test_a_program_that_runs_too_long_is_stopped(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    with pytest.raises(ExportError, match=r"^worker: ran longer than 0.2 s$"):
        replace(ENGINE_WORKER, interpreter=LocalPython(python), timeout_seconds=0.2).run(JobInput())


def test_workers_import_nothing_of_the_project_but_the_runtime(repository: Path) -> None:
    """Only that is copied to them."""
    for path in (repository / "export" / "targets" / "workers").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                own = module.startswith("tinyscene.runtime") if node.level == 0 else node.level == 1
                assert own or not module.startswith("tinyscene"), f"{path.name}: {module}"
