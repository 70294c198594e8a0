"""The manifest of a bundle as a typed record: provenance, cost, metrics and the digest of every file.

``manifest.json`` also holds the format version and the class labels, which a reader gets from the graph. Its own digest
covers everything else in it. Refuses other format versions, missing and unknown fields, values of the wrong type or out
of range, and a file that was edited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, NoReturn

from .cost import Rule
from .errors import RuntimeFailure
from .file_names import MANIFEST
from .records import Range, Text, read_record
from .spec import FrontendSpec

FORMAT = 1
REBUILD = "tinyscene export CHECKPOINT --out BUNDLE"

Count = Annotated[int, Range(0)]
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
        rebuild: command that makes the bundle again; shown when the bundle is refused.
    """

    data: str
    tools: Mapping[str, str]
    metrics: Metrics = field(default_factory=dict)
    rebuild: str = REBUILD


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 of one file, as hex."""

    bytes: Count
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
    """What ``manifest.json`` holds beside the format version and the labels; ``files`` by name."""

    rebuild: str
    frontend: FrontendSpec
    metrics: Metrics
    data: str
    tools: Mapping[str, str]
    cost: ModelCost
    budget: Mapping[str, Limit]
    files: Mapping[str, FileEntry]
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
class _Labels:
    labels: tuple[str, ...]


def manifest_bytes(manifest: Manifest, labels: tuple[str, ...], where: str) -> bytes:
    """The content of ``manifest.json``, validated; its digest is computed and ``manifest.digest`` not used.

    Raises:
        RuntimeFailure: a value that a reader would refuse.
    """
    data = _with_digest({**asdict(manifest), "format": FORMAT, "labels": labels})
    _validated(json.loads(data), where, "")
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
    if not bundle.exists():
        raise RuntimeFailure(str(bundle), "no such bundle", expected="a bundle folder", next_step="check the path")
    if not path.is_file():
        raise RuntimeFailure(
            str(bundle), "not a bundle", expected=f"a folder with {MANIFEST}", next_step=f"build one with '{REBUILD}'"
        )
    data = path.read_bytes()
    try:
        record = json.loads(data)
    except ValueError as problem:
        refuse(path, "not readable JSON", REBUILD, got=str(problem))
    rebuild = _rebuild_command(record)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        got = record.get("format", "none") if isinstance(record, dict) else type(record).__name__
        refuse(path, "unknown bundle format", rebuild, expected=FORMAT, got=got)
    if data != _with_digest(record):
        refuse(path, "changed since the bundle was written", rebuild)
    return _validated(record, str(path), f"build it again with '{rebuild}'")


def refuse(path: Path, what: str, rebuild: str, *, expected: object = None, got: object = None) -> NoReturn:
    """Raise RuntimeFailure for one file of a bundle, with the command that makes the bundle again."""
    raise RuntimeFailure(str(path), what, expected=expected, got=got, next_step=f"build it again with '{rebuild}'")


def _validated(record: dict[str, object], where: str, next_step: str) -> tuple[Manifest, tuple[str, ...]]:
    labels = {name: value for name, value in record.items() if name == "labels"}
    rest = {name: value for name, value in record.items() if name not in ("labels", "format")}
    manifest = read_record(Manifest, rest, where, next_step)
    return manifest, read_record(_Labels, labels, where, next_step).labels


def _with_digest(record: Mapping[str, object]) -> bytes:
    """The manifest with the digest of everything else in it, so that a change to itself is detected too."""
    bare = {name: value for name, value in record.items() if name != "digest"}
    return json_bytes({**bare, "digest": hashlib.sha256(json_bytes(bare)).hexdigest()})


def _rebuild_command(record: object) -> str:
    """The command in a manifest that is not validated yet; the general one if it is not plain text."""
    command = record.get("rebuild") if isinstance(record, dict) else None
    return command if isinstance(command, str) and command.isprintable() else REBUILD
