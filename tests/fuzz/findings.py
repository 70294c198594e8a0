"""Findings: content for which a reader neither returns nor raises the package's error, is slow, or takes much memory.

Findings with one cause share a signature: the kind, and the functions of the innermost frames. The smallest content of
each is kept, and :func:`reduced` makes it smaller.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tinyscene.runtime.errors import TinysceneError

from .mutate import places_in

LARGEST_GROWTH_BYTES = 256 * 2**20  # of the address space during one execution
LONGEST_S = 2.0  # of processor time for one execution


@dataclass(frozen=True)
class Finding:
    """``kind``: the exception's name, ``slow``, ``memory``, or the signal that ended the process."""

    kind: str
    place: str  # innermost function of the package, and innermost of all if that is another
    message: str

    @property
    def signature(self) -> str:
        """The same for content that fails at the same place in the same way."""
        return hashlib.sha256(f"{self.kind} {self.place}".encode()).hexdigest()[:12]


def escape_of(problem: BaseException) -> Finding | None:
    """The finding that an exception is; None for a refusal, unless memory ran out before it."""
    if isinstance(problem, TinysceneError):
        seen: BaseException | None = problem
        while seen is not None:
            if isinstance(seen, MemoryError):
                return Finding("memory", _place(seen), f"refused only after: {seen}"[:200])
            seen = seen.__cause__ or seen.__context__
        return None
    text = str(problem).encode(errors="backslashreplace").decode()
    return Finding(type(problem).__name__, _place(problem), " ".join(text.split())[:200])


def _place(problem: BaseException) -> str:
    names, own = [], ""
    for frame in traceback.extract_tb(problem.__traceback__):
        path = Path(frame.filename)
        within = path.as_posix().rpartition("/tinyscene/")
        names.append(f"{within[2] if within[0] else path.name} {frame.name}")
        if within[0]:
            own = names[-1]
    last = names[-1] if names else "?"
    return last if own in ("", last) else f"{own} > {last}"


def reduced(data: bytes, fails: Callable[[bytes], bool], seconds: float) -> bytes:
    """The smallest content found within ``seconds`` for which ``fails`` is still true."""
    end = time.monotonic() + seconds
    improved = True
    while improved:
        improved = False
        for smaller in _smaller(data):
            if time.monotonic() > end:
                return data
            if len(smaller) < len(data) and fails(smaller):
                data, improved = smaller, True
                break
    return data


def _smaller(data: bytes) -> Iterator[bytes]:
    """Content without one part: a value of a JSON document, or a run of bytes, the longest first."""
    try:
        whole = json.loads(data)
        for number in range(len(places_in([whole]))):
            holder = json.loads(data)
            container, key = places_in([holder])[number]
            if container != [holder]:
                del container[key]
                yield json.dumps(holder).encode()
    except (ValueError, RecursionError):  # not JSON, or too deep for it
        pass
    size = len(data) // 2
    while size >= 1:
        for at in range(0, len(data), size):
            yield data[:at] + data[at + size :]
        size //= 2 if size < 64 else 4


class FindingFolder:
    """The findings of one reader as files: content as ``SIGNATURE.bin``, the finding as ``SIGNATURE.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, finding: Finding, data: bytes) -> bool:
        """Keep the content unless a shorter one is known; returns whether the finding is new."""
        path = self.folder / f"{finding.signature}.bin"
        new = not path.exists()
        if new or len(data) < path.stat().st_size:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.with_suffix(".json").write_text(json.dumps(asdict(finding)))
        return new

    def all(self) -> list[tuple[Finding, Path]]:
        """Every finding and the file of its content."""
        records = sorted(self.folder.glob("*.json"))
        return [(Finding(**json.loads(path.read_text())), path.with_suffix(".bin")) for path in records]
