"""A bundle: one folder with the graph, the model files made from it, golden vectors and a manifest of digests.

A bundle appears whole or not at all (:func:`tinyscene.runtime.files.replaced_folder`). Reading one verifies every file
and refuses an unknown format version and a missing, added or changed file (a single byte, the manifest's own included),
links, folders and pipes among them, and content that a schema or a bound refuses: digests detect accidents, they do not
authenticate. Sizes are compared before a file is read. Nothing in it is pickled.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from . import ops
from .arith import ROUNDINGS
from .arrays import I8
from .bounded_files import read_bounded
from .cost import graph_cost, verdicts
from .errors import RuntimeFailure
from .file_names import CORE_FILES, GOLDEN_VECTORS, GRAPH_ARRAYS, GRAPH_RECORD, MANIFEST, ONNX_MODEL, TFLITE_MODEL
from .files import replaced_folder
from .graph import Graph
from .graph_io import graph_arrays, graph_from_files, graph_record
from .interpreter import run
from .manifest import (
    ADVICE,
    MOST_FILES,
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
from .npz import LARGEST_ARRAYS_BYTES, ArrayFile, ArrayHeader, pack_arrays
from .printable import short_name
from .scores import labels_of
from .spec import DCASE_BUDGET, FrontendSpec
from .system_errors import system_error
from .vectors import row_shape

MOST_GOLDEN_VECTORS = 64
WITHOUT_ONNX = (ops.Lstm,)  # of which ONNX has the layer of real numbers only
_INPUTS = "inputs"  # name of their array; the others are called <rounding rule>/<tensor>


@dataclass(frozen=True, eq=False)
class Golden:
    """Golden vectors: inputs and every activation that the graph computes from them.

    ``inputs``: vectors int8 (n, ...), see :mod:`tinyscene.runtime.vectors`. ``activations``: by rounding rule and
    tensor name, int8 (n, ...).
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
    """The files of a bundle: a graph, what was made from it, and ``extra_files`` by name.

    A graph with a front end has labels; ``input_axes`` as in :class:`tinyscene.runtime.model.Model`. ``onnx`` is None
    for a graph with an op that ONNX has no integers for (:data:`WITHOUT_ONNX`).
    """

    graph: Graph
    frontend: FrontendSpec | None
    tflite: bytes
    onnx: bytes | None
    golden: Golden
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    input_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle; its files are read, and verified again, on demand."""

    path: Path
    graph: Graph
    manifest: Manifest
    _golden: list[Golden] = field(default_factory=list, repr=False)

    @property
    def frontend(self) -> FrontendSpec | None:
        return self.manifest.frontend

    @property
    def input_axes(self) -> Mapping[str, tuple[int, ...]]:
        return self.manifest.input_axes

    @property
    def labels(self) -> tuple[str, ...]:
        """Class labels in the order of the graph's output, see :func:`tinyscene.runtime.scores.labels_of`."""
        return labels_of(self.graph)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which has those of all files."""
        return self.manifest.digest

    @property
    def constant_channels_removed(self) -> int | None:
        """Channels with the same value for every input, which export removed; None if the manifest has no count."""
        removed = self.manifest.metric("constant_channels_removed")
        return None if removed is None else int(removed)

    def file(self, name: str) -> bytes:
        """Bytes of one file of the manifest; raises RuntimeFailure if it changed since it was written.

        That of a ``model.onnx`` that the graph does not have is marked as unsupported.
        """
        if name == ONNX_MODEL and name not in self.manifest.files:
            what, step = "ONNX has no integer form of its LSTM", "use TensorFlow Lite Micro, LiteRT or firmware"
            raise RuntimeFailure(f"{self.path}, {name}", what, next_step=step, unsupported=True)
        return _verified(self.path, self.manifest, name)

    def golden(self) -> Golden:
        """The golden vectors, read once."""
        if not self._golden:
            self._golden.append(_golden_of(self.graph, self.file(GOLDEN_VECTORS), self.path / GOLDEN_VECTORS))
        return self._golden[0]

    def add_file(self, name: str, data: bytes) -> Bundle:
        """Add or replace a file beside the core ones, such as ``report.html``; returns the new bundle."""
        if name in CORE_FILES:
            raise RuntimeFailure(f"{self.path}, {name}", "a core file is never replaced", next_step="give another name")
        files = {other: self.file(other) for other in self.manifest.files if other != name}
        _publish(self.path, self.manifest, self.graph.labels, {**files, name: data}, overwrite=True)
        return read_bundle(self.path)


def write_bundle(path: Path, content: BundleContent, provenance: Provenance, *, overwrite: bool = False) -> Bundle:
    """Write a bundle and read it back.

    Args:
        overwrite: replace an existing bundle; any other existing folder or file is never touched.

    Raises:
        RuntimeFailure: labels, front end or golden vectors do not fit the graph; ``path`` exists or cannot be written.
    """
    graph = content.graph.check()
    _require_fit(graph, content.frontend, content.input_axes, path)
    _require_golden(graph, content.golden, path)
    cost = graph_cost(graph, "dcase")
    manifest = Manifest(
        rebuild=provenance.rebuild,
        frontend=content.frontend,
        input_axes=content.input_axes,
        metrics=provenance.metrics,
        data=provenance.data,
        tools=provenance.tools,
        cost=ModelCost(cost.rule, cost.parameters, cost.macs, cost.n_bytes),
        budget={v.limit_name: Limit(v.limit, v.passed) for v in verdicts(cost, DCASE_BUDGET)},
        files={},
        digest="",
    )
    files = {
        GRAPH_RECORD: json_bytes(graph_record(graph)),
        GRAPH_ARRAYS: pack_arrays(graph_arrays(graph)),
        TFLITE_MODEL: content.tflite,
        **({} if content.onnx is None else {ONNX_MODEL: content.onnx}),
        GOLDEN_VECTORS: pack_arrays(_golden_arrays(content.golden)),
        **content.extra_files,
    }
    _publish(path, manifest, graph.labels, files, overwrite=overwrite)
    return read_bundle(path)


def read_bundle(path: str | Path) -> Bundle:
    """Verify every byte of a bundle and return it; raises RuntimeFailure naming the first file that is wrong."""
    path = Path(path)
    manifest, labels = read_manifest(path)
    listed = set(manifest.files)
    present = _names(path) - {MANIFEST}
    missing = sorted(listed.union(CORE_FILES) - present - ({ONNX_MODEL} - listed))
    if missing:
        refuse(path / missing[0], "missing from the bundle")
    if present - listed:
        unknown, expected = str(path / min(present - listed)), sorted(listed)
        raise RuntimeFailure(unknown, "not a file of this bundle", expected=expected, next_step="remove it from there")
    contents = {name: _verified(path, manifest, name) for name in (GRAPH_RECORD, GRAPH_ARRAYS)}
    for name in listed - contents.keys():
        _verified(path, manifest, name)
    graph = graph_from_files(contents[GRAPH_RECORD], contents[GRAPH_ARRAYS], path, ADVICE)
    if ONNX_MODEL not in listed and not any(isinstance(node.op, WITHOUT_ONNX) for node in graph.nodes):
        refuse(path / ONNX_MODEL, "missing from the bundle")
    if graph.labels != labels:
        refuse(path / MANIFEST, "its labels are not the graph's", expected=graph.labels, got=labels)
    _require_fit(graph, manifest.frontend, manifest.input_axes, path)
    return Bundle(path, graph, manifest)


def _names(path: Path) -> set[str]:
    """Names in the folder, at most two more than a bundle has: a folder may have millions."""
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry in islice(entries, MOST_FILES + 2)}
    except OSError as problem:
        raise system_error(str(path), problem) from problem


def _require_fit(
    graph: Graph, frontend: FrontendSpec | None, input_axes: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """Labels, front end and axes of the inputs against the network."""
    for name, axes in input_axes.items():
        shape = graph.tensors[name].shape if name in graph.inputs else ()
        sequence = len(axes) == len(shape) - 1 and shape[1] == 1
        if axes[0] != 0 or sorted(axes) != list(range(len(axes))) or not (sequence or len(axes) == len(shape)):
            what = f"axes of input {short_name(name)} do not fit the graph"
            raise RuntimeFailure(str(path), what, expected=f"an order of those of {shape}", got=axes)
    if frontend is None:
        return
    comparisons: list[tuple[str, object, object]] = [
        ("labels", graph.tensors[graph.output].n_bytes, len(graph.labels)),
        ("front end's (mel, time)", graph.tensors[graph.input].shape[1:3], (frontend.n_mels, frontend.n_frames)),
        ("front end's axes", graph.tensors[graph.input].n_bytes, frontend.n_mels * frontend.n_frames),
    ]
    for what, expected, got in comparisons:
        if expected != got:
            raise RuntimeFailure(str(path), f"{what} do not fit the graph", expected=expected, got=got)


def _require_golden(graph: Graph, golden: Golden, path: Path) -> None:
    vectors, most = len(golden.inputs), MOST_GOLDEN_VECTORS
    if not 1 <= vectors <= most:
        raise RuntimeFailure(str(path), "number of golden vectors", expected=f"1 to {most}", got=vectors)
    declared = _golden_headers(graph, vectors)
    n_bytes = sum(header.n_bytes for header in declared.values())
    if n_bytes > LARGEST_ARRAYS_BYTES:
        expected, got = f"at most {LARGEST_ARRAYS_BYTES:,} bytes", f"{n_bytes:,}"
        raise RuntimeFailure(str(path), "golden vectors too large", expected=expected, got=got)
    arrays = {name: ArrayHeader(array.dtype.name, array.shape) for name, array in _golden_arrays(golden).items()}
    for name in [*declared, *arrays]:
        if declared.get(name) != arrays.get(name):
            what = f"golden vectors do not fit the graph: array '{name}'"
            raise RuntimeFailure(str(path), what, expected=declared.get(name), got=arrays.get(name))


def _golden_headers(graph: Graph, vectors: int) -> dict[str, ArrayHeader]:
    """Types and shapes of the golden vectors of a graph, by the name of the array."""
    headers = {_INPUTS: ArrayHeader("int8", (vectors, *row_shape(graph, graph.inputs)))}
    for rounding in ROUNDINGS:
        for tensor in graph.activations():
            headers[f"{rounding}/{tensor.name}"] = ArrayHeader("int8", (vectors, *tensor.shape[1:]))
    return headers


def _golden_arrays(golden: Golden) -> dict[str, I8]:
    arrays = {_INPUTS: golden.inputs}
    for rounding, activations in golden.activations.items():
        arrays |= {f"{rounding}/{name}": array for name, array in activations.items()}
    return arrays


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
        refuse(path / name, "not a file of this bundle", expected=sorted(manifest.files))
    place, entry, changed = path / name, manifest.files[name], "changed since the bundle was written"
    try:
        status = place.lstat()
    except OSError:
        refuse(place, "missing from the bundle")
    if not stat.S_ISREG(status.st_mode):
        refuse(place, "missing from the bundle as a regular file")
    if status.st_size != entry.bytes:
        refuse(place, changed, expected=f"{entry.bytes} bytes", got=status.st_size)
    digest = hashlib.sha256(data := read_bounded(place, entry.bytes, ADVICE, follow_links=False)).hexdigest()
    if digest != entry.sha256:
        refuse(place, changed, expected=f"SHA-256 {entry.sha256[:12]}...", got=f"{digest[:12]}...")
    return data


def _golden_of(graph: Graph, data: bytes, place: Path) -> Golden:
    file = ArrayFile(data, str(place), ADVICE)
    shape = file.headers[_INPUTS].shape if _INPUTS in file.headers else ()
    if not shape or not 1 <= shape[0] <= MOST_GOLDEN_VECTORS:
        refuse(place, "number of golden vectors", expected=f"1 to {MOST_GOLDEN_VECTORS:,}", got=shape)
    arrays = file.read(_golden_headers(graph, shape[0]))
    activations: dict[str, dict[str, I8]] = {rounding: {} for rounding in ROUNDINGS}
    for key, array in arrays.items():
        rounding, slash, name = key.partition("/")
        if slash:
            activations[rounding][name] = array
    return Golden(arrays[_INPUTS], activations)
