"""Other programs: what they print comes back, and a failure names its reason."""

from __future__ import annotations

import sys

import pytest

from tinyscene.export.errors import ExportError
from tinyscene.export.targets.subprocesses import run_program


def _python(code: str, **options: float | str | bool) -> str:
    return run_program([sys.executable, "-c", code], "worker", **options).stdout


def test_what_it_prints_comes_back() -> None:
    assert _python("print(6 * 7)") == "42\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('first\\nno such model\\n')", "no such model"),
        ("print('said on standard output'); raise SystemExit(3)", "said on standard output"),
        ("raise SystemExit(3)", "no message"),
    ],
)
def test_a_failure_names_the_last_line_said(code: str, reason: str) -> None:
    with pytest.raises(ExportError, match=rf"^worker: cannot be made; got {reason}; next: do it by hand$") as caught:
        _python(code, fault="cannot be made", next_step="do it by hand", missing=True)
    assert caught.value.missing


def test_one_that_does_not_end_is_stopped() -> None:
    with pytest.raises(ExportError, match=r"^worker: ran longer than 0.2 s$"):
        _python("import time; time.sleep(60)", timeout_seconds=0.2)
