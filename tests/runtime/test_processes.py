"""Child processes end with their parent, however it ends; worker processes return results and errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.processes import TimeoutExpired, run, started, worker_processes

# A program whose child would run on without it; both write their process ids.
FAMILY = ["sh", "-c", 'sh -c \'echo $$ >> "$0"; exec sleep 60\' "$0" & echo $$ >> "$0"; wait']
PARENT = """
import sys
from pathlib import Path
from tinyscene.runtime.processes import run
run([*{family}, sys.argv[1]])
"""
WORKERS_PARENT = """
import sys, time
from tests.runtime.test_processes import wait_in
from tinyscene.runtime.processes import worker_processes
if __name__ == "__main__":
    with worker_processes(wait_in, 2) as workers:
        list(workers.map([sys.argv[1]] * 2))
"""


def wait_in(path: str) -> None:
    _append_pid(path)
    time.sleep(60)


def square(number: int) -> int:
    if number < 0:
        raise RuntimeFailure("square", "negative", got=number)
    return number * number


def end_itself(number: int) -> int:
    os.kill(os.getpid(), number)
    return number


def _append_pid(path: str) -> None:
    with open(path, "a") as file:
        print(os.getpid(), file=file)


def _pids(path: Path, count: int) -> list[int]:
    """Process ids in a file, once there are ``count``."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and len(pids := path.read_text().split()) == count:
            return [int(pid) for pid in pids]
        time.sleep(0.02)
    raise AssertionError(f"{count} processes have not started")


def _running(pids: list[int]) -> list[int]:
    """Those that still run; a process that has ended and is not waited for does not."""
    states = [(pid, Path(f"/proc/{pid}/stat")) for pid in pids]
    return [pid for pid, stat in states if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"]


def _end(pids: list[int]) -> bool:
    """Whether all processes end within a few seconds."""
    deadline = time.monotonic() + 5
    while _running(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _running(pids)


def test_output_code_and_signal_of_a_program() -> None:
    ended = run(["sh", "-c", "echo out; echo err >&2; cat; exit 3"], environment={"PATH": os.environ["PATH"]})
    assert (ended.code, ended.stdout, ended.stderr) == (3, "out\n", "err\n")
    assert run(["sh", "-c", "kill -SEGV $$"]).code == -signal.SIGSEGV
    assert run(["printf", r"\377"]).stdout == "�"


def test_a_missing_program_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        run(["no-such-program"])


def test_the_temporary_files_of_a_program_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GCC leaves its files where it is killed, and where the disk is full and refuses to remove them."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = ["sh", "-c", "touch $TMPDIR/a; ls -ld $TMPDIR; kill -KILL $$"]
    ended = run(program, environment={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)})
    assert ended.code == -signal.SIGKILL
    assert ended.stdout.startswith("drwx--x--x")  # as in /tmp, helpers with another user find their files
    assert str(tmp_path) in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_timeout_ends_the_program_and_its_children(tmp_path: Path) -> None:
    with pytest.raises(TimeoutExpired):
        run([*FAMILY, str(tmp_path / "pids")], timeout_seconds=0.5)
    assert _running(_pids(tmp_path / "pids", 2)) == []


def test_a_program_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyscene.runtime.processes.PATIENCE_SECONDS", 0.1)
    with started(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("program", "workers"), [(PARENT.format(family=FAMILY), False), (WORKERS_PARENT, True)], ids=["program", "workers"]
)
def test_children_end_when_their_parent_is_killed(
    program: str, workers: bool, tmp_path: Path, repository: Path
) -> None:
    if sys.platform != "linux":
        pytest.skip("orphans are found in Linux's /proc")
    script, pids = tmp_path / "program.py", tmp_path / "pids"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    parent = subprocess.Popen([sys.executable, str(script), str(pids)], env=environment)
    try:
        children = _pids(pids, 2)
    finally:
        parent.kill()
        parent.wait()
    assert _end(children)


def test_a_fork_of_the_parent_does_not_keep_its_children_alive(tmp_path: Path, repository: Path) -> None:
    code = (
        "import os, signal, time\nfrom tinyscene.runtime.processes import started\n"
        "with started(['sleep', '60']) as process:\n"
        "    print(process.pid, flush=True)\n"
        "    time.sleep(8) if os.fork() == 0 else os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=repository, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.wait()
        assert _end([child])


def test_an_orderly_end_leaves_what_was_meant_to_stay(tmp_path: Path, repository: Path) -> None:
    """A compiler may start a server that outlives it; only the end of a process by a signal ends such processes."""
    program = ["sh", "-c", f"sleep 60 >&- 2>&- & echo $! > {tmp_path}/pids"]
    code = f"from tinyscene.runtime.processes import run; run({program})"
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)
    (stays,) = _pids(tmp_path / "pids", 1)
    time.sleep(0.2)
    assert _running([stays]) == [stays]
    os.kill(stays, signal.SIGKILL)


def test_workers_return_results() -> None:
    with worker_processes(square, 2) as workers:
        assert dict(workers.map(range(5))) == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
        with pytest.raises(RuntimeFailure, match="square: negative; got -1"):
            list(workers.map([-1]))


def test_the_death_of_a_worker_is_reported() -> None:
    with worker_processes(end_itself, 1) as workers, pytest.raises(RuntimeFailure, match="got SIGKILL"):
        list(workers.map([signal.SIGKILL]))
