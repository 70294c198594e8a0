"""End the child processes of a process that was killed.

    python -I -S orphans.py MARKER

:mod:`.processes` runs this file beside the first child process. It waits on its standard input, a pipe from the process
that started it. A message there is an orderly end: nothing is done. If the pipe closes without one, as after SIGKILL,
every process with ``MARKER`` in its environment is ended: children and their children, whatever groups and sessions
they are in. First with SIGTERM, which lets compilers remove their temporary files, then with SIGKILL. Uses Linux's
/proc; does nothing where that is missing. Imports only what the interpreter has loaded already, so that it starts in
10 ms, and nothing of this package.
"""

import os
import signal
import sys
import time

PATIENCE_SECONDS = 2.0  # between SIGTERM and SIGKILL
POLL_SECONDS = 0.02


def main() -> None:
    """Wait for the end of the parent."""
    if not sys.stdin.buffer.read(1):
        end_marked(sys.argv[1].encode())


def end_marked(marker: bytes) -> None:
    """End every process of this user whose environment has ``marker``, a whole entry ``NAME=VALUE``."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + PATIENCE_SECONDS
        signalled: set[int] = set()
        while time.monotonic() < deadline:
            pids = _marked(marker)
            if not pids:
                return
            for pid in pids - signalled:
                _send(pid, number)
            signalled |= pids
            time.sleep(POLL_SECONDS)


def _marked(marker: bytes) -> set[int]:
    """Process ids; processes that have ended or belong to others cannot be read and are left out."""
    pids = set()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                entries = file.read().split(b"\0")
        except OSError:
            continue
        if marker in entries:
            pids.add(int(name))
    return pids


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:  # it has ended
        return


if __name__ == "__main__":
    main()
