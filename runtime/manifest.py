"""The manifest of a bundle as a typed record: provenance, cost, metrics and the digest of every file.

``manifest.json`` also holds the format version and the class labels, which a reader gets from the graph. Its own digest
covers everything else in it. Refuses other format versions, missing and unknown fields, values of the wrong type or out
of range, and a file that was edited. Its text is data: no message advises to run a command that a manifest contains.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from .bounded_files import LARGEST_FILE_BYTES, read_bounded
from .cost import Rule
from .errors import RuntimeFailure
from .file_names import MANIFEST
from .graph import MOST_ENDS, Labels, Name
from .json_files import parse_json
from .ops import HIGHEST_RANK
from .records import Length, Range, Text, name_text, read_record
from .spec import FrontendSpec

FORMAT = 2
REBUILD = "tinyscene export CHECKPOINT --out BUNDLE"
ADVICE = f"build it again with '{REBUILD}', or copy it again from its source"
# What the owner of another model file can do with it; a checkpoint becomes a bundle.
_OPENER = "open it with open_model of tinyscene.export.formats.open_model, as the commands that take a MODEL do"
_READERS = {".tflite": _OPENER, ".onnx": _OPENER}
LARGEST_MANIFEST_BYTES = 2**20
MOST_FILES = 64

Count = Annotated[int, Range(0)]
Axes = Annotated[tuple[Annotated[int, Range(0, HIGHEST_RANK - 1)], ...], Length(1, HIGHEST_RANK)]
Note = Annotated[str, name_text(10_000, shortest=0)]
FileName = Annotated[str, Text(r"[^\0/\\.\ud800-\udfff][^\0/\\\ud800-\udfff]{0,199}", "a plain file name")]
Sha256 = Annotated[str, Text("[0-9a-f]{64}", "64 hexadecimal digits")]
Measure = int | float | str | None | tuple[float, ...] | tuple[tuple[int, ...], ...] | Mapping[str, float]
Metrics = Mapping[str, Measure | Mapping[str, Measure]]  # such as metrics["int8"]["accuracy"]


@dataclass(frozen=True)
class Provenance:
    """Where a bundle comes from.

    Attributes:
        data: what ``metrics`` was measured on, in words.
        tools: version of each package or tool by name.
        metrics: what training and export measured.
        rebuild: command that makes the bundle again; shown as data only.
    """

    data: Note
    tools: Annotated[Mapping[str, Note], Length(0, 256)]
    metrics: Metrics = field(default_factory=dict)
    rebuild: Note = REBUILD


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 of one file, as hex."""

    bytes: Annotated[int, Range(0, LARGEST_FILE_BYTES)]
    sha256: Sha256


@dataclass(frozen=True)
class ModelCost:
    """Parameters, multiply-accumulates of one inference, and bytes of the parameters by a counting rule."""

    rule: Rule
    parameters: Count
    macs: Count
    bytes: Count


@dataclass(frozen=True)
class Limit:
    """One limit of the budget and whether the model keeps it."""

    limit: Count
    passed: bool


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds beside the format version and the labels; ``files`` by name.

    ``frontend``: None for a network whose inputs are given as they are. ``input_axes``: see
    :attr:`tinyscene.runtime.model.Model.input_axes`.
    """

    rebuild: Note
    frontend: FrontendSpec | None
    input_axes: Annotated[Mapping[Name, Axes], Length(0, MOST_ENDS)]
    metrics: Metrics
    data: Note
    tools: Annotated[Mapping[str, Note], Length(0, 256)]
    cost: ModelCost
    budget: Annotated[Mapping[str, Limit], Length(0, 16)]
    files: Annotated[Mapping[FileName, FileEntry], Length(0, MOST_FILES)]
    digest: Sha256

    @property
    def provenance(self) -> Provenance:
        return Provenance(self.data, self.tools, self.metrics, self.rebuild)

    def metric(self, *path: str) -> float | None:
        """A number among the metrics, such as ``metric("int8", "accuracy")``; None where there is none."""
        value: object = self.metrics
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, int | float) else None


@dataclass(frozen=True)
class _Stored(Manifest):
    """The whole file."""

    format: Literal[2]
    labels: Labels


def manifest_bytes(manifest: Manifest, labels: tuple[str, ...], where: str) -> bytes:
    """The content of ``manifest.json``, validated; its digest is computed and ``manifest.digest`` not used.

    Raises:
        RuntimeFailure: a value that a reader would refuse.
    """
    data = _with_digest({**asdict(manifest), "format": FORMAT, "labels": labels})
    if len(data) > LARGEST_MANIFEST_BYTES:
        expected, got = f"at most {LARGEST_MANIFEST_BYTES:,} bytes", f"{len(data):,}"
        raise RuntimeFailure(where, "too large", expected=expected, got=got)
    read_record(_Stored, parse_json(data, where), where)
    return data


def json_bytes(record: object) -> bytes:
    """Canonical JSON: sorted keys, no NaN; raises RuntimeFailure for other values."""
    try:
        return (json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as problem:
        raise RuntimeFailure("bundle", "its record is not plain JSON", got=str(problem)) from problem


def read_manifest(bundle: Path) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest of a bundle folder, validated, and the class labels in it; raises RuntimeFailure."""
    path = bundle / MANIFEST
    if not os.path.exists(bundle):  # unlike Path.exists, never raises
        raise RuntimeFailure(str(bundle), "no such bundle", expected="a bundle folder", next_step="check the path")
    if not os.path.isfile(path):
        next_step = _READERS.get(bundle.suffix.lower(), f"build one with '{REBUILD}'")
        raise RuntimeFailure(str(bundle), "not a bundle", expected=f"a folder with {MANIFEST}", next_step=next_step)
    data = read_bounded(path, LARGEST_MANIFEST_BYTES, ADVICE, follow_links=False)
    record = parse_json(data, str(path), "readable JSON", ADVICE)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        got = record.get("format", "none") if isinstance(record, dict) else type(record).__name__
        refuse(path, "unknown bundle format", expected=FORMAT, got=str(got)[:80])
    stored = read_record(_Stored, record, str(path), ADVICE)
    if data != _with_digest(record):
        refuse(path, "changed since the bundle was written")
    return Manifest(**{entry.name: getattr(stored, entry.name) for entry in fields(Manifest)}), stored.labels


def refuse(path: Path, what: str, *, expected: object = None, got: object = None) -> NoReturn:
    """Raise RuntimeFailure for one file of a bundle; the advice is the same for every bundle."""
    raise RuntimeFailure(str(path), what, expected=expected, got=got, next_step=ADVICE)


def _with_digest(record: Mapping[str, object]) -> bytes:
    """The manifest with the digest of everything else in it, so that a change to itself is detected too."""
    bare = {name: value for name, value in record.items() if name != "digest"}
    return json_bytes({**bare, "digest": hashlib.sha256(json_bytes(bare)).hexdigest()})
