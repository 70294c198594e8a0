"""Other programs: their output is returned, and a failure has its reason."""

from __future__ import annotations

import sys

import pytest

from tinyscene.export.errors import ExportError
from tinyscene.export.targets.subprocesses import Failure, run_program
from tinyscene.export.targets.workers.job import UNSUPPORTED

WORKER = Failure("worker")


def _python(code: str, failure: Failure = WORKER, timeout_seconds: float | None = None) -> str:
    return run_program([sys.executable, "-c", code], failure, timeout_seconds=timeout_seconds).stdout


def test_a_worker_whose_engine_cannot_run_the_network_is_not_a_failure() -> None:
    code = f"import sys; print('tflm: no such op', file=sys.stderr); sys.exit({UNSUPPORTED})"
    with pytest.raises(ExportError, match="worker: cannot run the network; got tflm: no such op") as refusal:
        _python(code)
    assert refusal.value.unsupported


def test_the_output_is_returned() -> None:
    assert _python("print(6 * 7)") == "42\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('first\\nno such model\\n')", "no such model"),
        ("print('printed on standard output'); raise SystemExit(3)", "printed on standard output"),
        ("raise SystemExit(3)", "no message"),
    ],
)
def test_a_failure_has_the_last_line_of_output(code: str, reason: str) -> None:
    with pytest.raises(ExportError, match=rf"^worker: cannot be created; got {reason}; next: do it by hand$") as caught:
        _python(code, Failure("worker", "cannot be created", next_step="do it by hand", missing=True))
    assert caught.value.missing


def test_a_program_that_does_not_end_is_stopped() -> None:
    with pytest.raises(ExportError, match=r"^worker: ran longer than 0.2 s$"):
        _python("import time; time.sleep(60)", timeout_seconds=0.2)
