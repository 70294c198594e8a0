"""Errors with one form of message: where, what, expected, got, and the next step.

Every package raises its own subclass; the command line prints the message as one line and exits with code 2.
Names inside a message may come from files: the message has no control characters (:func:`printable`),
and its parts are cut where they are longer than :data:`LONGEST_PART`.
"""

from __future__ import annotations

import copyreg
import re

from .printable import printable

LONGEST_PART = 2000  # characters of one part: a name in a checkpoint or a model file may have a million
_LINE_BREAKS = re.compile(r"[ \t\r\n]+")  # of messages of several lines, such as a compiler's

# Advice for a model file of any kind, whoever made it.
GET_ANOTHER = "get the file again, compare its size or checksum, or ask its author for another"


class TinysceneError(Exception):
    """A failure the user can act on.

    Args:
        where: the file, layer, field or device.
        what: what is wrong, without a trailing full stop.
        expected: a value that would have been accepted, if that helps.
        got: the actual value.
        next_step: what the user can do.
        missing: a tool or a package is not installed; a caller that can continue without it may skip it by name.
        unsupported: this engine or file format cannot run the network, and others can: not a fault of the network.
    """

    def __init__(
        self,
        where: str,
        what: str,
        *,
        expected: object = None,
        got: object = None,
        next_step: str = "",
        missing: bool = False,
        unsupported: bool = False,
    ) -> None:
        self.where, self.what = where, what
        self.expected, self.got, self.next_step = expected, got, next_step
        self.missing, self.unsupported = missing, unsupported
        parts = [f"{printable(where)}: {what}"]
        if expected is not None:
            parts.append(f"expected {expected}")
        if got is not None:
            parts.append(f"got {got}")
        if next_step:
            parts.append(f"next: {next_step}")
        super().__init__("; ".join(printable(_cut(_LINE_BREAKS.sub(" ", part).strip())) for part in parts))

    def __reduce__(self) -> tuple[object, ...]:
        """Copies of another process or thread have the same message and fields."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


def _cut(part: str) -> str:
    """A part with both its ends: where a file's name stands, and where the field does."""
    half = LONGEST_PART // 2
    return part if len(part) <= LONGEST_PART else f"{part[:half]} ... {part[-half:]}"


class RuntimeFailure(TinysceneError):
    """Raised by the ``runtime`` package only."""
