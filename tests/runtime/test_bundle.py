"""The bundle: content is read back bit for bit; a changed, missing or added file is refused."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tinyscene.runtime.bundle import BundleContent, Golden, read_bundle, write_bundle
from tinyscene.runtime.engines import open_engine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.file_names import CORE_FILES, MANIFEST
from tinyscene.runtime.graph_io import graph_arrays, graph_from_files, graph_record
from tinyscene.runtime.manifest import REBUILD, Limit, Provenance, json_bytes
from tinyscene.runtime.npz import pack_arrays, unpack_arrays
from tinyscene.runtime.spec import preset

LABELS = tuple(f"scene_{i}" for i in range(10))
FRONTEND = replace(preset("cpm23"), name="small", n_mels=20, hop_length=2400, clip_samples=32_001)
METRICS = {
    "top1_agreement_with_float": 1.0,
    "constant_channels_removed": 0,
    "int8": {"clips": 36, "accuracy": 0.61, "per_class": {"scene_1": 0.5}, "confusion": ((1, 2), (3, 4))},
}
PROVENANCE = Provenance("made up", {"numpy": np.__version__}, METRICS)


def _content(seed=3):
    graph = replace(small_net(np.random.default_rng(seed), grn=True, shape=(20, 14, 1)), labels=LABELS)
    golden = Golden.of(graph, random_input(np.random.default_rng(seed + 1), graph, 2))
    files = {"notes.txt": b"as it was\n"}
    return BundleContent(graph, FRONTEND, b"TFL3" * 9, b"onnx" * 7, golden, files)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "one"
    return write_bundle(path, _content(), PROVENANCE)


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written.path, tmp_path / "copy")


def _same_graph(a, b):
    assert graph_record(a) == graph_record(b)
    assert (a.nodes, a.labels) == (b.nodes, b.labels)
    arrays = graph_arrays(b)
    for name, data in graph_arrays(a).items():
        assert data.dtype == arrays[name].dtype
        assert np.array_equal(data, arrays[name])
    assert {n: t.quant for n, t in a.tensors.items()} == {n: t.quant for n, t in b.tensors.items()}


def test_a_bundle_is_read_back_unchanged(written):
    content = _content()
    bundle = read_bundle(written.path)
    _same_graph(bundle.graph, content.graph)
    assert bundle.frontend == content.frontend
    assert bundle.labels == LABELS
    assert bundle.file("model.tflite") == content.tflite
    assert bundle.file("model.onnx") == content.onnx
    assert bundle.file("notes.txt") == b"as it was\n"
    assert bundle.manifest.provenance == PROVENANCE
    golden = bundle.golden()
    assert np.array_equal(golden.inputs, content.golden.inputs)
    for rounding, activations in content.golden.activations.items():
        assert list(golden.activations[rounding]) == list(activations)
        for name, array in activations.items():
            assert np.array_equal(golden.activations[rounding][name], array)
    answer = open_engine("numpy-single", bundle).output_codes(golden.inputs)
    assert np.array_equal(answer, golden.activations["single"][bundle.graph.output])


def test_a_graph_that_onnx_has_no_integers_for_has_no_onnx_file(tmp_path: Path) -> None:
    graph = one_op(np.random.default_rng(0), "lstm")
    golden = Golden.of(graph, random_input(np.random.default_rng(1), graph, 1))
    bundle = write_bundle(tmp_path / "lstm", BundleContent(graph, None, b"TFL3", None, golden), PROVENANCE)
    with pytest.raises(RuntimeFailure, match="ONNX has no integer form of its LSTM") as refused:
        bundle.file("model.onnx")
    assert refused.value.unsupported
    with pytest.raises(RuntimeFailure, match="missing from the bundle"):
        write_bundle(tmp_path / "other", replace(_content(), onnx=None), PROVENANCE)


def test_the_manifest_carries_the_budget_with_its_rule(written):
    cost = written.manifest.cost
    assert cost.rule == "dcase"
    assert written.manifest.budget["size"] == Limit(128_000, passed=cost.bytes <= 128_000)


def test_a_metric_is_found_by_its_path(written):
    assert written.manifest.metric("int8", "accuracy") == 0.61
    assert written.manifest.metric("int8", "per_class", "scene_1") == 0.5
    for path in (("int8",), ("int8", "recall"), ("int8", "accuracy", "x"), ("int8", "confusion")):
        assert written.manifest.metric(*path) is None


def _rewritten(bundle, change):
    """Apply ``change`` to the manifest's record and give it a valid digest."""
    record = json.loads((bundle / MANIFEST).read_text())
    change(record)
    record.pop("digest")
    digest = hashlib.sha256(json_bytes(record)).hexdigest()
    (bundle / MANIFEST).write_bytes(json_bytes({**record, "digest": digest}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: r.pop("cost"), "manifest.json, cost: missing field"),
        (lambda r: r.pop("labels"), "manifest.json, labels: missing field"),
        (lambda r: r.update(author="x"), "manifest.json, author: unknown field"),
        (lambda r: r["cost"].update(macs=1.5), "manifest.json, cost.macs: wrong type; expected an integer; got 1.5"),
        (lambda r: r["cost"].update(macs=-1), "manifest.json, cost.macs: out of range; expected 0 or more; got -1"),
        (lambda r: r["cost"].update(rule="weight"), "manifest.json, cost.rule: unknown value; expected 'dcase' or"),
        (lambda r: r.update(data=7), "manifest.json, data: wrong type; expected text; got 7"),
        (lambda r: r["tools"].update(numpy=2), "manifest.json, tools.numpy: wrong type"),
        (lambda r: r["budget"]["size"].update(passed=1), "budget.size.passed: wrong type; expected true or false"),
        (lambda r: r["files"]["model.onnx"].update(sha256="0" * 63), "files.model.onnx.sha256: invalid text"),
        (lambda r: r["frontend"].update(window="hamming"), "frontend.window: unknown value; expected 'hann_symmetric'"),
        (lambda r: r["frontend"].update(n_mels=True), "frontend.n_mels: wrong type; expected an integer; got True"),
        (lambda r: r.update(metrics={"accuracy": [["x"]]}), r"metrics.accuracy\[0\]\[0\]: wrong type"),
        (lambda r: r["input_axes"].update(nowhere=[0]), "axes of input nowhere do not fit the graph"),
        (lambda r: r["input_axes"].update(nowhere=[]), "input_axes.nowhere: wrong number of entries"),
        (lambda r: r["input_axes"].update(nowhere=[9]), r"input_axes.nowhere\[0\]: out of range"),
        (lambda r: r.update(labels=[*LABELS[1:], LABELS[0]]), "manifest.json: its labels are not the graph's"),
    ],
)
def test_an_invalid_manifest_is_refused_with_its_field(copy, change, complaint):
    _rewritten(copy, lambda record: None)
    assert read_bundle(copy).labels == LABELS
    _rewritten(copy, change)
    with pytest.raises(RuntimeFailure, match=complaint):
        read_bundle(copy)


@pytest.mark.parametrize("axes", [(0, 2, 3), (1, 2, 3, 0), (0, 2, 2, 1), (0, 1, 3), (0,)])
def test_axes_that_are_no_order_of_the_input_are_refused(tmp_path, axes):
    content = _content()
    changed = replace(content, input_axes={content.graph.input: axes})
    with pytest.raises(RuntimeFailure, match="do not fit the graph"):
        write_bundle(tmp_path / "b", changed, PROVENANCE)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("kind", OP_KINDS)
def test_every_op_is_read_back_equal(kind):
    for seed in range(8):
        graph = one_op(np.random.default_rng(seed), kind)
        record, arrays = json.dumps(graph_record(graph)).encode(), pack_arrays(graph_arrays(graph))
        _same_graph(graph_from_files(record, arrays, Path()), graph)


def test_equal_content_is_equal_bytes(written, tmp_path):
    again = write_bundle(tmp_path / "two", _content(), PROVENANCE)
    names = [*CORE_FILES, "notes.txt", MANIFEST]
    assert [(again.path / n).read_bytes() for n in names] == [(written.path / n).read_bytes() for n in names]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.data())
def test_one_changed_byte_is_refused_by_name(written, where):
    name = where.draw(st.sampled_from([*CORE_FILES, "notes.txt", MANIFEST]))
    data = bytearray((written.path / name).read_bytes())
    at = where.draw(st.integers(0, len(data) - 1))
    data[at] ^= where.draw(st.integers(1, 255))
    original = (written.path / name).read_bytes()
    try:
        (written.path / name).write_bytes(bytes(data))
        with pytest.raises(RuntimeFailure) as refusal:
            read_bundle(written.path)
    finally:
        (written.path / name).write_bytes(original)
    assert name in str(refusal.value)
    assert "next: build it again with '" in str(refusal.value)


@pytest.mark.parametrize("name", [*CORE_FILES, "notes.txt"])
def test_a_missing_file_is_refused_by_name(copy, name):
    (copy / name).unlink()
    with pytest.raises(RuntimeFailure, match=rf"{name}: missing.*{REBUILD}"):
        read_bundle(copy)


def test_an_added_file_is_refused_by_name(copy):
    (copy / "surprise.bin").write_bytes(b"?")
    with pytest.raises(RuntimeFailure, match=r"surprise\.bin: not a file of this bundle"):
        read_bundle(copy)


def test_a_truncated_file_is_refused_with_its_sizes(copy):
    data = (copy / "golden.npz").read_bytes()
    (copy / "golden.npz").write_bytes(data[:100])
    with pytest.raises(RuntimeFailure, match=rf"golden\.npz: changed.*expected {len(data)} bytes; got 100"):
        read_bundle(copy)


def test_a_link_is_not_a_file(copy):
    shutil.move(copy / "model.onnx", copy.parent / "elsewhere")
    (copy / "model.onnx").symlink_to(copy.parent / "elsewhere")
    with pytest.raises(RuntimeFailure, match=r"model\.onnx: missing"):
        read_bundle(copy)


def test_an_unknown_version_is_refused(copy):
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(RuntimeFailure, match=r"unknown bundle format; expected 2; got 99"):
        read_bundle(copy)


def test_other_paths_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for place, complaint in (("nowhere", "no such bundle"), ("file", "not a bundle"), (".", "not a bundle")):
        with pytest.raises(RuntimeFailure, match=complaint):
            read_bundle(tmp_path / place)


def test_a_file_changed_after_opening_is_refused(copy):
    bundle = read_bundle(copy)
    (copy / "model.tflite").write_bytes(b"TFL3" * 8 + b"TFL4")
    with pytest.raises(RuntimeFailure, match=r"model\.tflite: changed"):
        bundle.file("model.tflite")


def test_a_file_can_be_added_and_replaced(copy):
    bundle = read_bundle(copy).add_file("report.html", b"<p>one").add_file("report.html", b"<p>two")
    assert read_bundle(copy).file("report.html") == b"<p>two"
    assert bundle.file("notes.txt") == b"as it was\n"
    for name in ("model.tflite", MANIFEST, "../outside", ".hidden", "a/b"):
        with pytest.raises(RuntimeFailure):
            bundle.add_file(name, b"")
    assert read_bundle(copy).manifest == bundle.manifest


def test_a_bundle_is_replaced_only_with_overwrite(copy):
    with pytest.raises(RuntimeFailure, match="already exists"):
        write_bundle(copy, _content(8), PROVENANCE)
    before = read_bundle(copy)
    after = write_bundle(copy, _content(8), PROVENANCE, overwrite=True)
    assert after.manifest.files["graph.npz"] != before.manifest.files["graph.npz"]
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def test_a_folder_that_is_not_a_bundle_is_never_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(RuntimeFailure, match="is not a bundle"):
        write_bundle(tmp_path, _content(), PROVENANCE, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failure_while_writing_leaves_the_former_bundle(copy, monkeypatch):
    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    before = {p.name: p.read_bytes() for p in copy.iterdir()}
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(RuntimeFailure, match="copy: cannot be written; got no space"):
        write_bundle(copy, _content(8), PROVENANCE, overwrite=True)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: replace(c, graph=replace(c.graph, labels=LABELS[:9])), "labels"),
        (lambda c: replace(c, graph=replace(c.graph, labels=())), "labels do not fit the graph; expected 10; got 0"),
        (lambda c: replace(c, frontend=preset("cpm23")), "front end"),
    ],
)
def test_content_that_does_not_fit_the_graph_is_refused(tmp_path, change, complaint):
    with pytest.raises(RuntimeFailure, match=complaint):
        write_bundle(tmp_path / "b", change(_content()), PROVENANCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("metrics", "complaint"),
    [({"accuracy": float("nan")}, "plain JSON"), ({"devices": ["a"]}, r"metrics.devices\[0\]: wrong type")],
)
def test_metrics_that_a_reader_would_refuse_are_not_written(tmp_path, metrics, complaint):
    with pytest.raises(RuntimeFailure, match=complaint):
        write_bundle(tmp_path / "b", _content(), Provenance("made up", {}, metrics))
    assert list(tmp_path.iterdir()) == []


def test_golden_vectors_must_be_those_of_the_graph(tmp_path):
    content = _content()
    golden = content.golden
    cut = {r: {n: a for n, a in acts.items() if n != "conv2d_0_out"} for r, acts in golden.activations.items()}
    with pytest.raises(RuntimeFailure, match="conv2d_0_out"):
        write_bundle(tmp_path / "b", replace(content, golden=Golden(golden.inputs, cut)), PROVENANCE)
    with pytest.raises(RuntimeFailure, match="golden"):
        write_bundle(tmp_path / "b", replace(content, golden=Golden(golden.inputs[:1], golden.activations)), PROVENANCE)


def test_arrays_are_never_unpickled():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(RuntimeFailure, match="plain arrays"):
        unpack_arrays(buffer.getvalue(), "evil.npz")


def test_a_record_with_an_unknown_op_is_refused(written):
    record = graph_record(written.graph)
    record["nodes"][0] = {**record["nodes"][0], "op": "softmax"}
    with pytest.raises(RuntimeFailure, match="softmax"):
        graph_from_files(json.dumps(record).encode(), pack_arrays(graph_arrays(written.graph)), Path())


@pytest.mark.parametrize(
    ("name", "advice"),
    [("m.tflite", "open it with open_model"), ("m.ONNX", "open it with open_model"), ("m.pt", REBUILD)],
)
def test_another_model_file_is_refused_with_what_its_owner_can_do(tmp_path, name, advice):
    path = tmp_path / name
    path.write_bytes(b"a model")
    with pytest.raises(RuntimeFailure, match=f"not a bundle; .*{advice}"):
        read_bundle(path)
