"""Recordings of a folder, each once, when it is whole.

A recording is a name with a size and a modification time: one that is written again is another recording, one that was
renamed, touched or copied over itself is not. It is whole when a writer closed it or it was moved here, or when no
process has it open for writing; and it stays unchanged for a moment, longer where its WAV header declares another
size than the file has. Where none of that can be known, as on a folder of another machine, only time decides:
``OPEN_S``. Hidden names, names of other files, and entries that are no regular files are passed over. One digest of
eight bytes is kept per recording, until a scan no longer finds it. A folder that disappears is waited for.
Refuses a path that is not a folder at the start.
"""

from __future__ import annotations

import bisect
import fcntl
import hashlib
import os
import signal
import stat
import time
from array import array
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .audio_file import read_at
from .containers import container, is_recording_name
from .errors import RuntimeFailure
from .folder_events import FolderEvent, FolderEvents, QuietFolder, folder_events
from .wav_header import wav_header

SETTLE_S = 0.5  # without a change, for a file that is closed
UNSURE_S = 2.0  # for one whose header does not fit its size, as of recorders that append and close, again and again
OPEN_S = 60.0  # for one that may still be open
RESCAN_S = 10.0  # for changes without an event, such as those of another machine
_F_SETSIG = 10  # not in Python's module fcntl before 3.14


@dataclass
class _Waiting:
    """A recording that is not whole yet: its state, since when, and what is known of its writer."""

    state: tuple[int, int]  # size in bytes, modification time in ns
    since_s: float  # by time.monotonic
    is_closed: bool = False
    is_written: bool = False  # written to since it was closed


def arriving_files(folder: Path, seconds: float | None = None, poll_s: float = SETTLE_S) -> Iterator[Path]:
    """Each recording of a folder once, when it is whole; of those that are, by name.

    Args:
        seconds: stop after this time; without an end if not given.
        poll_s: how long a closed file must stay unchanged, and how often files are examined.

    Raises:
        RuntimeFailure: the folder does not exist at the start.
    """
    if not folder.is_dir():
        raise RuntimeFailure(str(folder), "not a folder", expected="a folder to watch", next_step="check the path")
    end_s = None if seconds is None else time.monotonic() + seconds
    watched = _WatchedFolder(folder, poll_s)
    with closing(watched):
        while True:
            for path in watched.whole():
                yield path
                if end_s is not None and time.monotonic() >= end_s:
                    return
            left_s = poll_s if end_s is None else end_s - time.monotonic()
            if left_s <= 0:
                return
            watched.wait(min(left_s, poll_s / 4 if watched.waiting else poll_s))


class _WatchedFolder:
    """State of a watched folder: recordings that were returned, and those that are not whole yet."""

    def __init__(self, folder: Path, poll_s: float) -> None:
        self.folder, self.poll_s = folder, poll_s
        self.waiting: dict[str, _Waiting] = {}
        self._returned = array("Q")  # sorted digests of names and states: 160 kB for 20,000 recordings
        self._events: FolderEvents | QuietFolder = QuietFolder()
        self._watched: tuple[int, int] | None = None  # device and inode of the folder that has the events
        self._scan_at_s = 0.0
        self._moved: tuple[int, bool] = 0, False  # cookie of the last name that was moved away, and if it was returned

    def close(self) -> None:
        self._events.close()

    def wait(self, timeout_s: float) -> None:
        """Wait for events and record them."""
        for event in self._events.wait(timeout_s):
            if event.is_incomplete:
                self._scan_at_s, self._watched = 0.0, None
                for waiting in self.waiting.values():
                    waiting.is_written = False  # the event that closed it may be among those that were lost
            elif is_recording_name(event.name):
                self._take(event)

    def whole(self) -> Iterator[Path]:
        """Recordings that are whole now."""
        names = self._scanned() if time.monotonic() >= self._scan_at_s else sorted(self.waiting)
        for name in names:
            state = self._look(name)
            if state is not None and self._is_whole(name, self.waiting[name]):
                del self.waiting[name]
                self._remember(_digest(name, state))
                yield self.folder / name

    def _scanned(self) -> list[str]:
        """Names of all recordings that were not returned; forget the returned ones that are gone."""
        self._follow_folder()
        try:
            names = sorted(filter(is_recording_name, os.listdir(self.folder)))
        except OSError:  # removed or unmounted: it may come back
            self._scan_at_s = time.monotonic() + self.poll_s
            return []
        self._scan_at_s = time.monotonic() + (self.poll_s if isinstance(self._events, QuietFolder) else RESCAN_S)
        fresh, digests = [], array("Q")
        for name in names:
            state = _state(self.folder / name)
            if state is None:
                continue
            digest = _digest(name, state)
            if self._was_returned(digest):
                digests.append(digest)
            else:
                fresh.append(name)
        if names:  # an empty folder may be a place where nothing is mounted for a moment
            self._returned, unreturned = array("Q", sorted(digests)), set(fresh)
            self.waiting = {name: each for name, each in self.waiting.items() if name in unreturned}
        return fresh

    def _follow_folder(self) -> None:
        """Watch the folder that has the path now, if it is another one than before."""
        try:
            status = os.stat(self.folder)
        except OSError:
            return
        if self._watched != (status.st_dev, status.st_ino):
            self._events.close()
            self._events = folder_events(self.folder) or QuietFolder()
            self._watched = status.st_dev, status.st_ino

    def _take(self, event: FolderEvent) -> None:
        name, waiting = event.name, self.waiting.get(event.name)
        state = _state(self.folder / name)
        if event.is_moved_away:
            self._moved = event.cookie, waiting is None
        elif state is None:
            return
        elif (event.is_moved_here and self._moved == (event.cookie, True)) or (event.is_new_state and waiting is None):
            self._remember(_digest(name, state))  # the same recording under another name, or with another time
        elif event.is_write or event.is_closed or event.is_created:
            waiting = self.waiting.setdefault(name, _Waiting(state, time.monotonic()))
            waiting.is_written, waiting.is_closed = event.is_write, event.is_closed

    def _look(self, name: str) -> tuple[int, int] | None:
        """The state of a recording that waits; None, and no longer waiting, if it was returned, is empty or is gone."""
        state, now_s = _state(self.folder / name), time.monotonic()
        if state is None or state[0] == 0 or self._was_returned(_digest(name, state)):
            self.waiting.pop(name, None)
            return None
        waiting = self.waiting.get(name)
        if waiting is None:
            age_s = max(0.0, time.time() - state[1] / 1e9)
            self.waiting[name] = _Waiting(state, now_s - min(age_s, 2 * OPEN_S))
        elif waiting.state != state:
            waiting.state, waiting.since_s = state, now_s
        return state

    def _was_returned(self, digest: int) -> bool:
        at = bisect.bisect_left(self._returned, digest)
        return at < len(self._returned) and self._returned[at] == digest

    def _remember(self, digest: int) -> None:
        if not self._was_returned(digest):
            bisect.insort(self._returned, digest)

    def _is_whole(self, name: str, waiting: _Waiting) -> bool:
        quiet_s = time.monotonic() - waiting.since_s
        if waiting.is_written or quiet_s < self.poll_s:
            return False
        closed, fits = _writer_and_header(self.folder / name)
        if _state(self.folder / name) != waiting.state:  # a writer ended while the file was examined
            return False
        if closed or (closed is None and waiting.is_closed):
            return fits or quiet_s >= UNSURE_S
        return quiet_s >= (UNSURE_S if fits and closed is None else OPEN_S)


def _writer_and_header(path: Path) -> tuple[bool | None, bool]:
    """Whether no process has the file open for writing (None: unknown), and whether a WAV header fits its size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, False
    except OSError:  # unreadable: the reader names the reason
        return True, True
    try:
        closed = _is_closed(descriptor)
        head = read_at(descriptor, 0, 16)
        return closed, container(head) not in ("WAV", "RF64") or _fits(descriptor)
    except OSError:
        return None, False
    finally:
        os.close(descriptor)


def _fits(descriptor: int) -> bool:
    header = wav_header(partial(read_at, descriptor), os.fstat(descriptor).st_size)
    return header.is_whole or bool(header.problem)


def _is_closed(descriptor: int) -> bool | None:
    """Whether no process has the file open for writing: only then Linux grants a lease for reading.

    The lease ends at once. A process that opens the file in between waits for that, and the signal that this process
    then gets is one that is ignored by default.
    """
    try:
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):  # of another owner, on another machine, or on another system than Linux
        return None
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def _state(path: Path) -> tuple[int, int] | None:
    """Size in bytes and modification time in ns of a regular file; None for anything else."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # removed since it was listed, a loop of links, no permission
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _digest(name: str, state: tuple[int, int]) -> int:
    text = f"{state[0]} {state[1]} ".encode() + os.fsencode(name)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
