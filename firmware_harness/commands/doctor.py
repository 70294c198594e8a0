"""`tinyscene doctor`: which engines, extras and targets work on this machine."""

from __future__ import annotations

from tinyscene.runtime.options import AsJson
from tinyscene.runtime.terminal import echo, echo_document


def doctor(as_json: AsJson = False) -> None:
    """List the engines, extras and targets that work here, and what to install for the others."""
    import json

    from ..doctor import as_json as record
    from ..doctor import findings, lines

    results = findings()
    if as_json:
        echo_document(json.dumps(record(results), indent=1))
    else:
        for line in lines(results):
            echo(line)
