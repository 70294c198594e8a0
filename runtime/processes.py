"""Child processes that end with their parent, however it ends.

Programs (compilers, emulators, other Pythons) run in a process group of their own, without standard input. The group
ends when its block is left by a timeout, an exception or a signal: first SIGTERM, then SIGKILL. If this process is
killed, :mod:`.orphans` ends them, and whatever they started; it finds them by a variable in their environment. Their
TMPDIR is a folder of :mod:`.temporaries` that ends with them: a compiler that is killed, or that cannot remove a file
on a failing disk, leaves nothing.

Python functions run in worker processes, which end when their parent does. They ignore Ctrl-C, which a terminal sends
to every process: the parent handles it.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Generic, TypeVar

from .errors import RuntimeFailure
from .temporaries import temporary_folder

MARKER = "TINYSCENE_OWNER"  # environment variable of every child process
PATIENCE_SECONDS = 1.0  # between SIGTERM and SIGKILL
_POLL_SECONDS = 0.01
Item = TypeVar("Item")
Result = TypeVar("Result")
TimeoutExpired = subprocess.TimeoutExpired


@dataclass(frozen=True)
class Ended:
    """A process that has ended. ``code``: its exit code, or minus the number of the signal that ended it."""

    code: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Ended:
    """Run a program to its end. Bytes of its output that are not UTF-8 are replaced.

    Args:
        folder: working folder; the current one if left out.
        environment: environment variables; those of this process if left out.

    Raises:
        TimeoutExpired: it ran longer than ``timeout_seconds``; it and its children have been ended.
        OSError: it cannot be started.
        RuntimeFailure: there is no place for its temporary files.
    """
    with started(command, folder=folder, environment=environment) as process:
        stdout, stderr = process.communicate(timeout=timeout_seconds)
    return Ended(process.returncode, stdout, stderr)


@contextmanager
def started(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    one_stream: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """A running program, which the end of the block ends.

    Args:
        one_stream: standard error goes to standard output.

    Raises:
        OSError: it cannot be started.
        RuntimeFailure: there is no place for its temporary files.
    """
    with temporary_folder("program") as temporary:
        temporary.chmod(0o711)  # helpers of a program may be other users, such as those that download for apt
        variables = {**(os.environ if environment is None else environment), "TMPDIR": str(temporary)}
        with subprocess.Popen(
            command, cwd=folder, env=_marked(variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if one_stream else subprocess.PIPE, text=True, errors="replace", process_group=0,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                _end_group(process)


def _end_group(process: subprocess.Popen[str]) -> None:
    """End a process that still runs, and its group. It is not waited for before the last signal, which keeps its number
    from being given to another process."""
    if process.poll() is not None:
        return
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_SECONDS
    has_ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, process.pid, has_ended) is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


# --- children of a killed process


def _marked(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process; the first call starts the process that ends orphans."""
    return {**environment, MARKER: _owner()}


@lru_cache(maxsize=1)
def _owner() -> str:
    """A name of this process that no other process has."""
    owner = f"{os.getpid()}-{os.urandom(8).hex()}"
    if "python" in os.path.basename(sys.executable or ""):  # not where Python is embedded in another program
        with suppress(OSError):
            _watch_over(owner)
    return owner


def _watch_over(owner: str) -> None:
    """Start orphans.py; an orderly end of this process dismisses it."""
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("orphans.py")), f"{MARKER}={owner}"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd="/", env={k: v for k, v in os.environ.items() if k != MARKER}, start_new_session=True,
    )  # fmt: skip
    assert watcher.stdin is not None
    pipe = watcher.stdin

    def dismiss() -> None:
        with suppress(OSError, ValueError, TimeoutExpired):
            pipe.write(b"ended")
            pipe.close()
            watcher.wait(timeout=PATIENCE_SECONDS)

    def forget() -> None:
        """In a fork of this process, whose copy of the pipe would keep it open."""
        watcher.returncode = 0
        atexit.unregister(dismiss)
        pipe.close()
        _owner.cache_clear()

    atexit.register(dismiss)
    os.register_at_fork(after_in_child=forget)


# --- worker processes


class Workers(Generic[Item, Result]):
    """Processes that apply one function; see :func:`worker_processes`."""

    def __init__(self, connections: Mapping[Connection, multiprocessing.process.BaseProcess]) -> None:
        self._processes = connections

    def map(self, items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item with the function's result for it, in the order in which they are ready.

        Raises:
            RuntimeFailure: a worker process was killed.
            Exception: what the function raised for an item.
        """
        remaining = iter(items)
        busy: dict[Connection, Item] = {}
        for connection, item in zip(self._processes, remaining, strict=False):
            connection.send(item)
            busy[connection] = item
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                item, result = busy.pop(ready), self._result(ready)
                for following in remaining:
                    ready.send(following)
                    busy[ready] = following
                    break
                yield item, result

    def _result(self, connection: Connection) -> Result:
        try:
            result, problem = connection.recv()
        except EOFError:
            process = self._processes[connection]
            process.join()
            number = -(process.exitcode or 0)
            got = signal.Signals(number).name if number > 0 else f"exit code {-number}"
            step = "free some memory and run it again"
            raise RuntimeFailure("worker process", "ended before its work", got=got, next_step=step) from None
        if problem is not None:
            raise problem
        done: Result = result
        return done


@contextmanager
def worker_processes(function: Callable[[Item], Result], count: int) -> Iterator[Workers[Item, Result]]:
    """``count`` processes that apply ``function``; they are killed when the block ends.

    Args:
        function: importable by name, as are its arguments and results.
    """
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # of multiprocessing; its start would unblock Ctrl-C
    connections: dict[Connection, multiprocessing.process.BaseProcess] = {}
    with ExitStack() as stack:
        for _ in range(count):
            ours, theirs = context.Pipe()
            stack.enter_context(closing(ours))
            process = context.Process(target=_work, args=(function, theirs), daemon=True)
            with closing(theirs), _interrupts_blocked():
                process.start()
            stack.callback(_kill, process)
            connections[ours] = process
        yield Workers(connections)


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    process.kill()
    process.join()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that are started in the block never receive Ctrl-C; this one does when the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(function: Callable[[Item], Result], connection: Connection) -> None:
    """A worker: one result, or the exception in its place, for each item."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent has ended
        while True:
            item = connection.recv()
            outcome: tuple[Result | None, Exception | None]
            try:
                outcome = function(item), None
            except Exception as problem:
                outcome = None, problem
            connection.send(outcome)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
