"""One forked process that answers questions and is started again when it dies; its death is the answer."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

TIMEOUT_S = 300.0  # of wall clock for one question, also on a busy machine


@dataclass(frozen=True)
class Death:
    """How the process ended, such as ``SIGSEGV``, or that it was stopped."""

    how: str

    def __str__(self) -> str:
        return f"death: {self.how}"


class AnsweringProcess:
    """Calls ``answer`` in the forked process; what it raises is raised here."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer, self._context = answer, multiprocessing.get_context("fork")
        self._start()

    def _start(self) -> None:
        self._connection, other = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(other, self._answer), daemon=True)
        self._process.start()
        other.close()

    def ask(self, *question: Any) -> Any:
        """The answer, or a :class:`Death`."""
        try:
            self._connection.send(question)
            if self._connection.poll(TIMEOUT_S):
                answer = self._connection.recv()
                if isinstance(answer, Exception):
                    raise answer
                return answer
            self._process.kill()
            self._process.join()
            how = f"stopped after {TIMEOUT_S:g} s"
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._start()
        return Death(how)

    def close(self) -> None:
        """Let the process end."""
        self._connection.close()
        self._process.join(5.0)


def _serve(connection: Connection, answer: Callable[..., Any]) -> None:
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        try:
            connection.send(answer(*question))
        except Exception as problem:
            connection.send(RuntimeError(f"{type(problem).__name__}: {problem}"))
