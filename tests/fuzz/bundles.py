"""Readers of a bundle's files. Each gets one file's content; the rest of the bundle and all digests fit it.

The content of GRAPH is graph.json; its constants are generated from the declared shapes, or from ``_arrays``, an object
{name: [dtype, shape]} that is removed before. FRONT_END is the record of the front end alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, get_args
from zlib import crc32

import numpy as np

from tests.differential.nets import random_node
from tests.graphs import OP_KINDS, Builder
from tests.random_states import streaming
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.firmware_harness.build.targets import C_FLAGS
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.log_mel import emit_frontend
from tinyscene.firmware_harness.emit.model import Emitted, emit
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.runtime.arith import ROUNDINGS
from tinyscene.runtime.arrays import INT16_FULL_SCALE
from tinyscene.runtime.bundle import Bundle, BundleContent, Golden, read_bundle, write_bundle
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.errors import RuntimeFailure, TinysceneError
from tinyscene.runtime.file_names import GOLDEN_VECTORS, GRAPH_ARRAYS, GRAPH_RECORD
from tinyscene.runtime.file_names import MANIFEST as MANIFEST_JSON
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.graph_io import graph_record
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.spec import Arithmetic, MelScale, Window, preset
from tinyscene.runtime.tflite_write import to_tflite
from tinyscene.runtime.vectors import row_shape

from .mutate import mutate_bytes, mutate_json, mutate_npy, mutate_zip, pack_zip
from .readers import Reader, scratch

LARGEST_RUN = 2_000_000  # elements of all activations and products; larger graphs are only read
COMPILED_SHARE = 32  # one accepted graph in so many is also compiled
_CONSTANT_ELEMENTS = 100_000
_FRONT_END = replace(
    preset("dcase25"), name="short", n_fft=64, win_length=64, hop_length=32, n_mels=4, f_max_hz=8000.0,
    sample_rate_hz=16_000, clip_samples=128,
)  # fmt: skip
_FRONT_END_VALUES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("arithmetic", get_args(Arithmetic)), ("window", get_args(Window)), ("mel_scale", get_args(MelScale)),
    ("n_fft", (16, 64, 96, 128, 256, 512, 1024, 4096, 16_384)), ("win_length", (4, 16, 32, 64, 128, 254)),
    ("sample_rate_hz", (8000, 16_000, 16_001, 768_000)), ("f_min_hz", (0, 1, 300.5, 6000)),
    ("f_max_hz", (1.5, 400, 4000, 8000, 384_000)), ("pre_emphasis", (0, 1e-9, 0.5, 0.97, 1)),
    ("clip_samples", (128, 129, 159, 160)), ("log_offset", (1e-30, 1e-10, 1e-5, 1.0, 1e6)),
    ("norm_mean", (-1e6, -4.5, 0, 100, 1e6)), ("norm_std", (1e-6, 0.01, 1.0, 5, 1e6)),
)  # fmt: skip
_FILES = ("model.tflite", "model.onnx", GRAPH_RECORD, GRAPH_ARRAYS, GOLDEN_VECTORS)


def run_graph(graph: Graph) -> None:
    """Run what an accepted graph is for: both rules, C for each kernel set, both writers."""
    sizes = [tensor.n_bytes for tensor in (*graph.activations(), *graph.constants())]
    if sum(sizes) * max(1, max(sizes, default=1) // 64) > LARGEST_RUN:
        return
    shape = (1, *row_shape(graph, graph.inputs))
    codes = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    with np.errstate(all="ignore"):
        for rounding in ROUNDINGS:
            run(graph, codes, rounding=rounding)
    portable = emit(graph)
    for cpu in ("dsp", "mve"):
        emit(graph, kernel_set_named(cpu), "speed")
    if crc32(portable.model_c.encode()) % COMPILED_SHARE == 0:
        _require_c(portable)
    for write in (to_tflite, to_onnx):
        try:
            write(graph)
        except TinysceneError:  # a format that cannot express a graph refuses it
            continue


def _require_c(emitted: Emitted) -> None:
    """The emitted file is C that the compiler accepts without a warning."""
    compiler, folder = shutil.which("gcc"), scratch() / "c"
    if compiler is None:
        return
    emitted.write(folder)
    words = [compiler, *C_FLAGS, "-fsyntax-only", f"-I{folder}", str(folder / "model.c")]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, f"model.c does not compile: {done.stderr[:300]}"


@lru_cache(maxsize=1)
def _files() -> dict[str, bytes]:
    """The files of one whole bundle that our own writer made."""
    b = Builder(np.random.default_rng(0), "net", (_FRONT_END.n_mels, _FRONT_END.n_frames, 1))
    x = b.conv(b.input, (3, 3), channels=3, pads=(1, 1, 1, 1), relu=True)
    graph = replace(b.graph(b.mean(x, keep_dims=False)), labels=("bus", "park", "tram"))
    golden = Golden.of(graph, np.zeros((1, *graph.tensors[graph.input].shape[1:]), np.int8))
    content = BundleContent(graph, _FRONT_END, to_tflite(graph), to_onnx(graph), golden)
    provenance = Provenance("synthetic", {"numpy": "2"}, {"int8": {"accuracy": 0.5, "confusion": ((1, 0), (0, 1))}})
    path = write_bundle(scratch() / "seed", content, provenance).path
    return {name: (path / name).read_bytes() for name in (*_FILES, MANIFEST_JSON)}


def _canonical(record: object) -> bytes:
    return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()


def _manifest(record: dict[str, Any]) -> bytes:
    """A manifest with the digest of everything else in it."""
    bare = {key: value for key, value in record.items() if key != "digest"}
    return _canonical({**bare, "digest": hashlib.sha256(_canonical(bare)).hexdigest()})


def _opened(changed: dict[str, bytes], manifest: bytes | dict[str, Any] | None = None) -> Bundle:
    """The bundle with some files replaced; the manifest's entries fit them unless it is given whole."""
    files = {**_files(), **changed}
    if not isinstance(manifest, bytes):
        record = {**json.loads(_files()[MANIFEST_JSON]), **(manifest or {})}
        for name, data in changed.items():
            record["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest = _manifest(record)
    folder = scratch() / "bundle"
    folder.mkdir(exist_ok=True)
    for name in _FILES:
        (folder / name).write_bytes(files[name])
    (folder / MANIFEST_JSON).write_bytes(manifest)
    return read_bundle(folder)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _read_manifest(data: bytes) -> None:
    record = _json(data)
    try:
        content = _manifest(record) if isinstance(record, dict) else data
    except (ValueError, RecursionError):
        content = data
    bundle = _opened({}, content)
    for path in (("int8", "accuracy"), ("int8", "clips"), ("top1_agreement_with_float",)):
        bundle.manifest.metric(*path)
    _ = bundle.constant_channels_removed, bundle.frontend is None or bundle.frontend.digest()


def _read_graph(data: bytes) -> None:
    record = _json(data)
    if not isinstance(record, dict):
        _opened({GRAPH_RECORD: data})
        return
    declared = record.pop("_arrays", {})
    fitting = {"labels": record.get("labels"), **_front_end_of(record)}
    text = json.dumps(record).encode(errors="surrogatepass")
    bundle = _opened({GRAPH_RECORD: text, GRAPH_ARRAYS: _constants(record, declared)}, fitting)
    run_graph(bundle.graph)


def _front_end_of(record: dict[str, Any]) -> dict[str, Any]:
    """The front end that fits a graph's declared input; nothing if it is of another form."""
    tensors = record.get("tensors")
    listed = tensors if isinstance(tensors, list) else []
    named = [t for t in listed if isinstance(t, dict) and t.get("name") == record.get("input")]
    shape = named[0].get("shape") if named else None
    if not isinstance(shape, list) or len(shape) != 4 or not all(type(n) is int and 1 < n < 500 for n in shape[1:3]):
        return {}
    frames = {"n_mels": shape[1], "clip_samples": _FRONT_END.hop_length * (shape[2] - 1)}
    return {"frontend": {**_FRONT_END.to_json(), **frames}}


def _constants(record: dict[str, Any], declared: Any) -> bytes:
    """An .npz with an array for every tensor that the record calls constant, of its shape where that is possible."""
    tensors = record.get("tensors")
    members: dict[str, bytes] = {}
    for tensor in tensors if isinstance(tensors, list) else []:
        if not isinstance(tensor, dict) or not tensor.get("constant"):
            continue
        name = str(tensor.get("name"))
        dtype, shape = tensor.get("dtype"), tensor.get("shape")
        if isinstance(declared, dict) and isinstance(declared.get(name), list) and len(declared[name]) == 2:
            dtype, shape = declared[name]
        members[f"{name}.npy"] = _npy(name, dtype, shape)
    return pack_zip(list(members.items()))


def _npy(name: str, dtype: object, shape: object) -> bytes:
    sizes = shape if isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape) else [1]
    sizes = sizes if len(sizes) < 30 and math.prod(sizes) <= _CONSTANT_ELEMENTS else [1]
    rng = np.random.default_rng(crc32(name.encode(errors="replace")))
    if dtype == "int8":
        array = rng.integers(-127, 128, sizes).astype(np.int8)
    elif dtype in ("int32", "int64", "float32", "float64", "bool", "uint8"):
        array = rng.integers(-2000, 2001, sizes).astype(np.dtype(str(dtype)))
    else:
        array = np.zeros(sizes, np.float32)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def _mutate_graph(data: bytes, rng: random.Random) -> bytes:
    """JSON values, or the declared type and shape of one constant apart from its record."""
    record = _json(data)
    tensors = record.get("tensors") if isinstance(record, dict) else None
    if rng.random() < 0.1 and isinstance(tensors, list) and tensors:
        tensor = rng.choice(tensors)
        if isinstance(tensor, dict):
            wrong = [rng.choice(("int8", "int32", "int64", "float32", "bool")), tensor.get("shape")]
            record["_arrays"] = {str(tensor.get("name")): wrong}
            return json.dumps(record).encode()
    return mutate_json(data, rng)


def _graph_seeds() -> Iterable[bytes]:
    yield _files()[GRAPH_RECORD]
    for number, kind in enumerate(OP_KINDS * 2):
        yield json.dumps(graph_record(_in_bounds(number, kind))).encode()
    for seed in range(3):
        rng = np.random.default_rng(seed)
        b = Builder(rng, "streaming", (3, 2, 2))
        yield json.dumps(graph_record(streaming(b, rng, [b.input], [b.conv(b.input, (1, 1), channels=2)]))).encode()


def _in_bounds(number: int, kind: str) -> Graph:
    """The first of some random networks with this op whose scales are within the bounds of the graph."""
    for attempt in range(20):
        with suppress(RuntimeFailure):
            return _scored(np.random.default_rng((number, attempt)), kind)
    raise AssertionError(f"no random network with {kind} is within the bounds")


def _scored(rng: np.random.Generator, kind: str) -> Graph:
    """A network for log-mels of the short front end, with two scores, that has this op."""
    b = Builder(rng, kind, (_FRONT_END.n_mels, _FRONT_END.n_frames, 1))
    x = b.conv(b.input, (2, 2), channels=3, stride=(1, 2), relu=True)
    x = random_node(b, rng, kind, x)
    x = b.reshape(x, (1, math.prod(b.tensors[x].shape)))
    return replace(b.graph(b.fully_connected(x, 2)), labels=("a", "b"))


def _read_arrays(data: bytes) -> None:
    run_graph(_opened({GRAPH_ARRAYS: data}).graph)


def _read_golden(data: bytes) -> None:
    bundle = _opened({GOLDEN_VECTORS: data})
    golden = bundle.golden()
    computed = Golden.of(bundle.graph, golden.inputs)
    for rounding, activations in computed.activations.items():
        for name, array in activations.items():
            np.array_equal(golden.activations[rounding][name], array)


def _read_front_end(data: bytes) -> None:
    bundle = _opened({}, {"frontend": _json(data)})
    classifier = SceneClassifier.open(bundle, "numpy-double")
    samples = np.random.default_rng(0).integers(-INT16_FULL_SCALE, INT16_FULL_SCALE, 300).astype(np.int16)
    classifier.classify(samples, bundle.frontend.sample_rate_hz)
    with suppress(FirmwareError):  # C supports fewer front ends than NumPy
        emit_frontend(bundle.frontend, bundle.graph.tensors[bundle.graph.input].quant)


def _front_end_seeds() -> Iterable[bytes]:
    for arithmetic in get_args(Arithmetic):
        yield json.dumps(replace(_FRONT_END, arithmetic=arithmetic).to_json()).encode()


def _mutate_front_end(data: bytes, rng: random.Random) -> bytes:
    """JSON values, or one to four fields replaced by values that many front ends have, so that some are accepted."""
    record = _json(data)
    if rng.random() < 0.3 or not isinstance(record, dict):
        return mutate_json(data, rng)
    for _ in range(rng.randrange(1, 5)):
        name, values = rng.choice(_FRONT_END_VALUES)
        record[name] = rng.choice(values)
    return json.dumps(record).encode()


def _manifest_seeds() -> Iterable[bytes]:
    record = json.loads(_files()[MANIFEST_JSON])
    for front_end in _front_end_seeds():
        yield json.dumps({**record, "frontend": json.loads(front_end)}, indent=1).encode()


def _mutate_npz(data: bytes, rng: random.Random) -> bytes:
    return mutate_bytes(data, rng) if rng.random() < 0.15 else mutate_zip(data, rng, mutate_npy)


MANIFEST = Reader(_read_manifest, _manifest_seeds, mutate_json)
GRAPH = Reader(_read_graph, _graph_seeds, _mutate_graph)
ARRAYS = Reader(_read_arrays, lambda: [_files()[GRAPH_ARRAYS]], _mutate_npz)
GOLDEN = Reader(_read_golden, lambda: [_files()[GOLDEN_VECTORS]], _mutate_npz)
FRONT_END = Reader(_read_front_end, _front_end_seeds, _mutate_front_end)
