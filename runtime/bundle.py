"""The artefact: one folder with the graph, the files made from it, golden vectors and a manifest of digests.

Written to a temporary sibling and renamed, so that a bundle is there whole or not at all. A reader believes nothing:
it refuses an unknown format version, a missing, added or changed file (a single byte, the manifest's own included),
and says how to build the bundle again. Nothing in it is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .arith import Rounding
from .arrays import I8
from .cost import graph_cost, verdicts
from .errors import RuntimeFailure
from .graph import Graph
from .graph_io import graph_arrays, graph_from_record, graph_record, pack_arrays, unpack_arrays
from .interpreter import run
from .spec import DCASE_BUDGET, FrontendSpec

FORMAT = 1
MANIFEST = "manifest.json"
CORE_FILES = ("graph.json", "graph.npz", "model.tflite", "model.onnx", "golden.npz")
REBUILD = "tinyscene export CHECKPOINT --out BUNDLE"
_ROUNDINGS: tuple[Rounding, ...] = ("double", "single")


@dataclass(frozen=True, eq=False)
class Golden:
    """Inputs and what the graph makes of them.

    ``inputs``: int8 (n, H, W, C). ``activations``: for each rounding rule, every activation by name, int8 (n, ...).
    """

    inputs: I8
    activations: dict[str, dict[str, I8]]

    @staticmethod
    def of(graph: Graph, inputs: I8) -> Golden:
        """What the interpreter makes of ``inputs`` by both rules."""
        activations: dict[str, dict[str, I8]] = {rounding: {} for rounding in _ROUNDINGS}
        for rounding in _ROUNDINGS:
            run(graph, inputs, rounding=rounding, trace=activations[rounding])
        return Golden(inputs, activations)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle. ``manifest`` is its JSON record; files are read, and verified again, on demand."""

    path: Path
    graph: Graph
    frontend: FrontendSpec
    labels: tuple[str, ...]
    manifest: dict[str, Any]
    _golden: list[Golden] = field(default_factory=list, repr=False)

    @property
    def constant_channels_removed(self) -> int | None:
        """Channels that no input changes and that export therefore left out; None when the manifest does not say."""
        found = self.manifest["metrics"].get("constant_channels_removed")
        return found if isinstance(found, int) else None

    def file(self, name: str) -> bytes:
        """Bytes of one file of the manifest; raises RuntimeFailure if it is not the file that was written."""
        return _verified(self.path, self.manifest, name)

    def golden(self) -> Golden:
        """The golden vectors, read once."""
        if not self._golden:
            self._golden.append(_golden_of(unpack_arrays(self.file("golden.npz"), str(self.path / "golden.npz"))))
        return self._golden[0]

    def add_file(self, name: str, data: bytes) -> Bundle:
        """Add or replace a file beside the core ones, such as ``report.html``; returns the new bundle."""
        if name in CORE_FILES:
            raise RuntimeFailure(f"{self.path}, {name}", "a core file is never replaced", next_step=REBUILD)
        files = {other: self.file(other) for other in self.manifest["files"] if other != name}
        record = {key: value for key, value in self.manifest.items() if key not in ("files", "digest")}
        _publish(self.path, record, {**files, name: data}, overwrite=True)
        return read_bundle(self.path)


def write_bundle(
    path: Path,
    *,
    graph: Graph,
    frontend: FrontendSpec,
    labels: tuple[str, ...],
    tflite: bytes,
    onnx: bytes,
    golden: Golden,
    metrics: Mapping[str, Any],
    data: str,
    tools: Mapping[str, str],
    extra_files: Mapping[str, bytes] | None = None,
    rebuild: str = REBUILD,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle and read it back.

    Args:
        metrics: plain JSON values, measured on ``data`` (said in words).
        tools: package or tool name to version.
        rebuild: the command that makes this bundle; shown when it is refused.
        overwrite: replace a bundle that is there; anything else that is there is never touched.

    Raises:
        RuntimeFailure: labels, front end or golden vectors do not fit the graph; the place is taken.
    """
    _require_fit(path, graph.check(), frontend, labels, golden)
    cost = graph_cost(graph, "dcase")
    record = {
        "format": FORMAT,
        "rebuild": rebuild,
        "frontend": frontend.to_json(),
        "labels": list(labels),
        "metrics": dict(metrics),
        "data": data,
        "tools": dict(tools),
        "cost": {"rule": cost.rule, "parameters": cost.parameters, "macs": cost.macs, "bytes": cost.n_bytes},
        "budget": {v.limit_name: {"limit": v.limit, "passed": v.passed} for v in verdicts(cost, DCASE_BUDGET)},
    }
    arrays = {"inputs": golden.inputs}
    for rounding, activations in golden.activations.items():
        arrays |= {f"{rounding}/{name}": array for name, array in activations.items()}
    files = {
        "graph.json": _json(graph_record(graph)),
        "graph.npz": pack_arrays(graph_arrays(graph)),
        "model.tflite": tflite,
        "model.onnx": onnx,
        "golden.npz": pack_arrays(arrays),
        **(extra_files or {}),
    }
    _publish(path, record, files, overwrite=overwrite)
    return read_bundle(path)


def read_bundle(path: str | Path) -> Bundle:
    """Verify every byte of a bundle and return it; raises RuntimeFailure naming the first file that is wrong."""
    path = Path(path)
    manifest = _read_manifest(path)
    listed, there = set(manifest["files"]), {entry.name for entry in os.scandir(path)} - {MANIFEST}
    missing = sorted(listed.union(CORE_FILES) - there)
    if missing:
        _refuse(path / missing[0], "missing from the bundle", manifest)
    if there - listed:
        _refuse(path / sorted(there - listed)[0], "not a file of this bundle", manifest, expected=sorted(listed))
    contents = {name: _verified(path, manifest, name) for name in manifest["files"]}
    record = _parsed(path / "graph.json", contents["graph.json"], manifest)
    arrays = unpack_arrays(contents["graph.npz"], str(path / "graph.npz"))
    graph = graph_from_record(record, arrays, str(path / "graph.json"))
    frontend = FrontendSpec.from_json(manifest["frontend"])
    return Bundle(path, graph, frontend, tuple(manifest["labels"]), manifest)


def _require_fit(path: Path, graph: Graph, frontend: FrontendSpec, labels: tuple[str, ...], golden: Golden) -> None:
    n_mels, n_frames = graph.tensors[graph.input].shape[1:3]
    wanted: list[tuple[str, object, object]] = [
        ("labels", graph.tensors[graph.output].shape[-1], len(labels)),
        ("labels", graph.labels or labels, labels),
        ("front end's (mel, time)", (n_mels, n_frames), (frontend.n_mels, frontend.n_frames)),
        ("golden inputs", graph.tensors[graph.input].shape[1:], golden.inputs.shape[1:]),
        ("golden activations", set(_ROUNDINGS), set(golden.activations)),
    ]
    for what, expected, got in wanted:
        if expected != got:
            raise RuntimeFailure(str(path), f"{what} do not fit the graph", expected=expected, got=got)
    names = {t.name for t in graph.activations()}
    for rounding, activations in golden.activations.items():
        wrong = [n for n, a in activations.items() if a.shape != (len(golden.inputs), *graph.tensors[n].shape[1:])]
        if set(activations) != names or wrong:
            odd = sorted(names.symmetric_difference(activations)) or wrong
            raise RuntimeFailure(str(path), f"golden activations ({rounding}) do not fit the graph", got=odd[0])


def _publish(path: Path, record: Mapping[str, Any], files: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Write the folder beside its place, then rename it there."""
    odd = [name for name in files if name == MANIFEST or Path(name).name != name or name.startswith(".")]
    if odd:
        raise RuntimeFailure(f"{path}, {odd[0]!r}", "not a plain file name for a bundle")
    _require_place(path, overwrite)
    entries = {n: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in sorted(files.items())}
    manifest = _manifest_bytes({**record, "files": entries})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        temporary.chmod(0o755)
        for name, data in {**files, MANIFEST: manifest}.items():
            with open(temporary / name, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        _sync_folder(temporary)
        _swap_in(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_folder(path.parent)


def _require_place(path: Path, overwrite: bool) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / MANIFEST).is_file():
        raise RuntimeFailure(str(path), "exists and is no bundle", next_step="give another path; it was not touched")
    if not overwrite:
        raise RuntimeFailure(str(path), "a bundle is already there", next_step="give another path, or --overwrite")


def _swap_in(temporary: Path, path: Path) -> None:
    """Rename into place; an old bundle steps aside first and comes back if that fails."""
    if not path.exists():
        temporary.rename(path)
        return
    aside = temporary.with_suffix(".old")
    path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        aside.rename(path)
        raise
    shutil.rmtree(aside)


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a folder; its files are synced already
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _json(record: Any) -> bytes:
    try:
        return (json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as problem:
        raise RuntimeFailure("bundle", "its record is not plain JSON", got=str(problem)) from problem


def _manifest_bytes(record: Mapping[str, Any]) -> bytes:
    """The manifest with the digest of everything else in it, so that a change to itself shows too."""
    bare = {key: value for key, value in record.items() if key != "digest"}
    return _json({**bare, "digest": hashlib.sha256(_json(bare)).hexdigest()})


def _read_manifest(path: Path) -> dict[str, Any]:
    place = path / MANIFEST
    if not path.exists():
        raise RuntimeFailure(str(path), "no such bundle", expected="a bundle folder", next_step="check the path")
    if not place.is_file():
        raise RuntimeFailure(
            str(path), "not a bundle", expected=f"a folder with {MANIFEST}", next_step=f"build one with '{REBUILD}'"
        )
    data = place.read_bytes()
    manifest = _parsed(place, data, {})
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        got = manifest.get("format", "none") if isinstance(manifest, dict) else type(manifest).__name__
        _refuse(place, "unknown bundle format", manifest, expected=FORMAT, got=got)
    if data != _manifest_bytes(manifest):
        _refuse(place, "changed since the bundle was written", manifest)
    return manifest


def _parsed(place: Path, data: bytes, manifest: Mapping[str, Any]) -> Any:
    try:
        return json.loads(data)
    except ValueError as problem:
        _refuse(place, "not readable JSON", manifest, got=str(problem))


def _verified(path: Path, manifest: Mapping[str, Any], name: str) -> bytes:
    if name not in manifest["files"]:
        _refuse(path / name, "not a file of this bundle", manifest, expected=sorted(manifest["files"]))
    place, entry = path / name, manifest["files"][name]
    if not place.is_file() or place.is_symlink():
        _refuse(place, "missing from the bundle", manifest)
    data = place.read_bytes()
    if len(data) != entry["bytes"]:
        _refuse(
            place, "changed since the bundle was written", manifest, expected=f"{entry['bytes']} bytes", got=len(data)
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["sha256"]:
        expected = f"SHA-256 {entry['sha256'][:12]}..."
        _refuse(place, "changed since the bundle was written", manifest, expected=expected, got=f"{digest[:12]}...")
    return data


def _golden_of(arrays: Mapping[str, I8]) -> Golden:
    activations: dict[str, dict[str, I8]] = {rounding: {} for rounding in _ROUNDINGS}
    for key, array in arrays.items():
        rounding, _, name = key.partition("/")
        if name:
            activations[rounding][name] = array
    return Golden(np.asarray(arrays["inputs"]), activations)


def _refuse(place: Path, what: str, manifest: Any, *, expected: object = None, got: object = None) -> NoReturn:
    rebuild = manifest.get("rebuild", REBUILD) if isinstance(manifest, dict) else REBUILD
    raise RuntimeFailure(str(place), what, expected=expected, got=got, next_step=f"build it again with '{rebuild}'")
