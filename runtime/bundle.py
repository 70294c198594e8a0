"""A bundle: one folder with the graph, the model files made from it, golden vectors and a manifest of digests.

A bundle appears whole or not at all (:func:`tinyscene.runtime.files.replaced_folder`). Reading one verifies every file
and refuses an unknown format version and a missing, added or changed file (a single byte, the manifest's own included);
the message has the command that makes the bundle again. Nothing in it is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .arith import ROUNDINGS
from .arrays import I8
from .cost import graph_cost, verdicts
from .errors import RuntimeFailure
from .file_names import CORE_FILES, GOLDEN_VECTORS, GRAPH_ARRAYS, GRAPH_RECORD, MANIFEST, ONNX_MODEL, TFLITE_MODEL
from .files import replaced_folder
from .graph import Graph
from .graph_io import graph_arrays, graph_from_record, graph_record, pack_arrays, unpack_arrays
from .interpreter import run
from .manifest import (
    FileEntry,
    Limit,
    Manifest,
    ModelCost,
    Provenance,
    json_bytes,
    manifest_bytes,
    read_manifest,
    refuse,
)
from .spec import DCASE_BUDGET, FrontendSpec


@dataclass(frozen=True, eq=False)
class Golden:
    """Golden vectors: inputs and every activation that the graph computes from them.

    ``inputs``: int8 (n, H, W, C). ``activations``: by rounding rule and tensor name, int8 (n, ...).
    """

    inputs: I8
    activations: dict[str, dict[str, I8]]

    @staticmethod
    def of(graph: Graph, inputs: I8) -> Golden:
        """The activations of the interpreter for ``inputs`` by every rounding rule."""
        activations: dict[str, dict[str, I8]] = {rounding: {} for rounding in ROUNDINGS}
        for rounding in ROUNDINGS:
            run(graph, inputs, rounding=rounding, trace=activations[rounding])
        return Golden(inputs, activations)


@dataclass(frozen=True, eq=False)
class BundleContent:
    """The files of a bundle: a graph with labels, what was made from it, and ``extra_files`` by name."""

    graph: Graph
    frontend: FrontendSpec
    tflite: bytes
    onnx: bytes
    golden: Golden
    extra_files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle; its files are read, and verified again, on demand."""

    path: Path
    graph: Graph
    manifest: Manifest
    _golden: list[Golden] = field(default_factory=list, repr=False)

    @property
    def frontend(self) -> FrontendSpec:
        return self.manifest.frontend

    @property
    def labels(self) -> tuple[str, ...]:
        """Class labels in the order of the graph's output."""
        return self.graph.labels

    @property
    def constant_channels_removed(self) -> int | None:
        """Channels with the same value for every input, which export removed; None if the manifest has no count."""
        removed = self.manifest.metric("constant_channels_removed")
        return None if removed is None else int(removed)

    def file(self, name: str) -> bytes:
        """Bytes of one file of the manifest; raises RuntimeFailure if it changed since it was written."""
        return _verified(self.path, self.manifest, name)

    def golden(self) -> Golden:
        """The golden vectors, read once."""
        if not self._golden:
            arrays = unpack_arrays(self.file(GOLDEN_VECTORS), str(self.path / GOLDEN_VECTORS))
            self._golden.append(_golden_of(arrays))
        return self._golden[0]

    def add_file(self, name: str, data: bytes) -> Bundle:
        """Add or replace a file beside the core ones, such as ``report.html``; returns the new bundle."""
        if name in CORE_FILES:
            step = f"build the bundle again with '{self.manifest.rebuild}'"
            raise RuntimeFailure(f"{self.path}, {name}", "a core file is never replaced", next_step=step)
        files = {other: self.file(other) for other in self.manifest.files if other != name}
        _publish(self.path, self.manifest, self.labels, {**files, name: data}, overwrite=True)
        return read_bundle(self.path)


def write_bundle(path: Path, content: BundleContent, provenance: Provenance, *, overwrite: bool = False) -> Bundle:
    """Write a bundle and read it back.

    Args:
        overwrite: replace an existing bundle; any other existing folder or file is never touched.

    Raises:
        RuntimeFailure: labels, front end or golden vectors do not fit the graph; ``path`` exists or cannot be written.
    """
    _require_fit(path, content)
    graph = content.graph
    cost = graph_cost(graph, "dcase")
    manifest = Manifest(
        rebuild=provenance.rebuild,
        frontend=content.frontend,
        metrics=provenance.metrics,
        data=provenance.data,
        tools=provenance.tools,
        cost=ModelCost(cost.rule, cost.parameters, cost.macs, cost.n_bytes),
        budget={v.limit_name: Limit(v.limit, v.passed) for v in verdicts(cost, DCASE_BUDGET)},
        files={},
        digest="",
    )
    arrays = {"inputs": content.golden.inputs}
    for rounding, activations in content.golden.activations.items():
        arrays |= {f"{rounding}/{name}": array for name, array in activations.items()}
    files = {
        GRAPH_RECORD: json_bytes(graph_record(graph)),
        GRAPH_ARRAYS: pack_arrays(graph_arrays(graph)),
        TFLITE_MODEL: content.tflite,
        ONNX_MODEL: content.onnx,
        GOLDEN_VECTORS: pack_arrays(arrays),
        **content.extra_files,
    }
    _publish(path, manifest, graph.labels, files, overwrite=overwrite)
    return read_bundle(path)


def read_bundle(path: str | Path) -> Bundle:
    """Verify every byte of a bundle and return it; raises RuntimeFailure naming the first file that is wrong."""
    path = Path(path)
    manifest, labels = read_manifest(path)
    listed, present = set(manifest.files), {entry.name for entry in os.scandir(path)} - {MANIFEST}
    missing = sorted(listed.union(CORE_FILES) - present)
    if missing:
        refuse(path / missing[0], "missing from the bundle", manifest.rebuild)
    if present - listed:
        unknown = min(present - listed)
        refuse(path / unknown, "not a file of this bundle", manifest.rebuild, expected=sorted(listed))
    contents = {name: _verified(path, manifest, name) for name in manifest.files}
    place = path / GRAPH_RECORD
    try:
        record = json.loads(contents[GRAPH_RECORD])
    except ValueError as problem:
        refuse(place, "not readable JSON", manifest.rebuild, got=str(problem))
    graph = graph_from_record(record, unpack_arrays(contents[GRAPH_ARRAYS], str(path / GRAPH_ARRAYS)), str(place))
    if graph.labels != labels:
        refuse(path / MANIFEST, "its labels are not the graph's", manifest.rebuild, expected=graph.labels, got=labels)
    return Bundle(path, graph, manifest)


def _require_fit(path: Path, content: BundleContent) -> None:
    graph, frontend, golden = content.graph.check(), content.frontend, content.golden
    n_mels, n_frames = graph.tensors[graph.input].shape[1:3]
    comparisons: list[tuple[str, object, object]] = [
        ("labels", graph.tensors[graph.output].shape[-1], len(graph.labels)),
        ("front end's (mel, time)", (n_mels, n_frames), (frontend.n_mels, frontend.n_frames)),
        ("golden inputs", graph.tensors[graph.input].shape[1:], golden.inputs.shape[1:]),
        ("golden activations", set(ROUNDINGS), set(golden.activations)),
    ]
    for what, expected, got in comparisons:
        if expected != got:
            raise RuntimeFailure(str(path), f"{what} do not fit the graph", expected=expected, got=got)
    names = {t.name for t in graph.activations()}
    for rounding, activations in golden.activations.items():
        wrong = [n for n, a in activations.items() if a.shape != (len(golden.inputs), *graph.tensors[n].shape[1:])]
        if set(activations) != names or wrong:
            odd = sorted(names.symmetric_difference(activations)) or wrong
            raise RuntimeFailure(str(path), f"golden activations ({rounding}) do not fit the graph", got=odd[0])


def _publish(
    path: Path, manifest: Manifest, labels: tuple[str, ...], files: Mapping[str, bytes], *, overwrite: bool
) -> None:
    """Write the whole folder; ``files`` and ``digest`` of ``manifest`` are computed."""
    odd = [name for name in files if name == MANIFEST or Path(name).name != name or name.startswith(".")]
    if odd:
        raise RuntimeFailure(f"{path}, {odd[0]!r}", "not a plain file name for a bundle")
    _require_place(path, overwrite)
    entries = {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    data = manifest_bytes(replace(manifest, files=entries), labels, str(path / MANIFEST))
    with replaced_folder(path) as folder:
        for name, content in {**files, MANIFEST: data}.items():
            (folder / name).write_bytes(content)


def _require_place(path: Path, overwrite: bool) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / MANIFEST).is_file():
        raise RuntimeFailure(str(path), "exists and is not a bundle", next_step="give another path; it was not touched")
    if not overwrite:
        raise RuntimeFailure(str(path), "a bundle already exists", next_step="give another path, or --overwrite")


def _verified(path: Path, manifest: Manifest, name: str) -> bytes:
    if name not in manifest.files:
        refuse(path / name, "not a file of this bundle", manifest.rebuild, expected=sorted(manifest.files))
    place, entry = path / name, manifest.files[name]
    if not place.is_file() or place.is_symlink():
        refuse(place, "missing from the bundle", manifest.rebuild)
    data, changed = place.read_bytes(), "changed since the bundle was written"
    if len(data) != entry.bytes:
        refuse(place, changed, manifest.rebuild, expected=f"{entry.bytes} bytes", got=len(data))
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        expected = f"SHA-256 {entry.sha256[:12]}..."
        refuse(place, changed, manifest.rebuild, expected=expected, got=f"{digest[:12]}...")
    return data


def _golden_of(arrays: Mapping[str, I8]) -> Golden:
    activations: dict[str, dict[str, I8]] = {rounding: {} for rounding in ROUNDINGS}
    for key, array in arrays.items():
        rounding, _, name = key.partition("/")
        if name:
            activations[rounding][name] = array
    return Golden(np.asarray(arrays["inputs"]), activations)
