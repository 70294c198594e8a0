"""The one way a failure is told to a person: where, what, expected, got, and what to do next.

Every package raises its own subclass; the command prints the message as one line and exits 2.
"""

from __future__ import annotations


class TinysceneError(Exception):
    """A failure the user can act on.

    Args:
        where: the file, layer, field or device concerned.
        what: what is wrong there, without a trailing full stop.
        expected: what would have been right, if that helps.
        got: what was found instead.
        next_step: what the user can do now.
        missing: it is a tool or a package that is not there; whoever can go on without it may skip by name.
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
    ) -> None:
        self.where, self.what = where, what
        self.expected, self.got, self.next_step = expected, got, next_step
        self.missing = missing
        parts = [f"{where}: {what}"]
        if expected is not None:
            parts.append(f"expected {expected}")
        if got is not None:
            parts.append(f"got {got}")
        if next_step:
            parts.append(f"next: {next_step}")
        super().__init__("; ".join(" ".join(part.split()) for part in parts))


class RuntimeFailure(TinysceneError):
    """Raised by the ``runtime`` package only."""
