"""Run other programs to their end: their output, or an ExportError with the last line that they printed.

A program that fails, crashes or runs too long is an ExportError.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyscene.runtime.processes import Ended, TimeoutExpired, run
from tinyscene.runtime.system_errors import mentioned_in, system_error

from ..errors import ExportError
from .workers.job import UNSUPPORTED


@dataclass(frozen=True)
class Failure:
    """How a message describes a failed program.

    ``where`` names the program, ``fault`` is what its failure means; ``missing`` marks a tool that can be installed,
    with ``next_step``.
    """

    where: str
    fault: str = "failed"
    next_step: str = ""
    missing: bool = False


def run_program(
    command: Sequence[str],
    failure: Failure,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Ended:
    """Run a program and return what it printed.

    Args:
        folder: working folder; the current one if left out.
        environment: environment variables; those of this process if left out.

    Raises:
        ExportError: it failed, or ran longer than ``timeout_seconds``.
        RuntimeFailure: it failed because the disk is full, or for another reason of the machine.
    """
    try:
        done = run(command, folder=folder, environment=environment, timeout_seconds=timeout_seconds)
    except TimeoutExpired:
        raise ExportError(failure.where, f"ran longer than {timeout_seconds} s") from None
    if done.code:
        shortage = mentioned_in(done.stderr, done.code)
        if shortage is not None:
            raise system_error(failure.where, shortage)
        fault, got = failure.fault, last_line(done.stderr or done.stdout)
        if done.code == UNSUPPORTED:
            raise ExportError(failure.where, "cannot run the network", got=got, unsupported=True)
        if done.code < 0:
            fault, got = f"died with {signal_name(-done.code)}", f"last output: {got}"
        raise ExportError(failure.where, fault, got=got, next_step=failure.next_step, missing=failure.missing)
    return done


def signal_name(number: int) -> str:
    """Such as SIGSEGV; real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_line(text: str) -> str:
    """The last line that is not empty, where programs name the reason of a failure."""
    return (text.strip().splitlines() or ["no message"])[-1]
