"""Events of the files in a folder, as Linux's inotify reports them: written to, closed, moved, removed.

Only processes of this machine cause events: what another machine writes to a shared folder has none. Where inotify is
missing or has no watch left, :func:`folder_events` is None.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED = 0x2000, 0x4000, 0x8000
_ONLY_FOLDER = 0x01000000
_WATCHED = (
    _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
) | _ONLY_FOLDER
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_BUFFER_BYTES = 2**16


@dataclass(frozen=True)
class FolderEvent:
    """One event of the file ``name``; ``cookie`` is the same for both names of a file that was renamed."""

    name: str
    mask: int
    cookie: int = 0

    @property
    def is_write(self) -> bool:
        """The file was written to and is not closed yet."""
        return bool(self.mask & _MODIFY)

    @property
    def is_closed(self) -> bool:
        """The file was closed by a writer, or moved here."""
        return bool(self.mask & (_CLOSE_WRITE | _MOVED_TO))

    @property
    def is_created(self) -> bool:
        """The name is new: of a file, or of a link to one, which is never closed."""
        return bool(self.mask & _CREATE)

    @property
    def is_moved_here(self) -> bool:
        return bool(self.mask & _MOVED_TO)

    @property
    def is_moved_away(self) -> bool:
        return bool(self.mask & _MOVED_FROM)

    @property
    def is_new_state(self) -> bool:
        """The attributes of the file, its modification time among them, were set."""
        return bool(self.mask & _ATTRIB)

    @property
    def is_incomplete(self) -> bool:
        """Events were lost, or the folder itself was removed, moved or unmounted."""
        return bool(self.mask & (_OVERFLOW | _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED))


class FolderEvents:
    """The events of one folder; a context manager."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, timeout_s: float) -> Iterator[FolderEvent]:
        """Events that arrived, after waiting for the first at most ``timeout_s``."""
        if not self._poll.poll(max(0, round(1000 * timeout_s))):
            return
        try:
            data = os.read(self._descriptor, _BUFFER_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            _, mask, cookie, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            name = data[at : at + length].rstrip(b"\0")
            at += length
            yield FolderEvent(os.fsdecode(name), mask, cookie)

    def close(self) -> None:
        os.close(self._descriptor)


def folder_events(folder: Path) -> FolderEvents | None:
    """The events of a folder from now on; None where the system reports none."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, AttributeError):  # no such library, or no such function in it
        return None
    if descriptor < 0:
        return None
    if library.inotify_add_watch(descriptor, os.fsencode(folder), _WATCHED) < 0:
        os.close(descriptor)
        return None
    return FolderEvents(descriptor)


class QuietFolder:
    """Stands in for :class:`FolderEvents` where the system reports no events: waiting only passes the time."""

    def wait(self, timeout_s: float) -> Iterator[FolderEvent]:
        time.sleep(max(0.0, timeout_s))
        return iter(())

    def close(self) -> None:
        """Nothing is open."""
