"""Every command with a file where it takes a bundle: TFLite and ONNX, with inputs, or with a front end and labels."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.firmware_harness.bundles import FRONTEND, LABELS, small_bundle
from tests.graphs import Builder, random_input, small_net
from tinyscene import command_line
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.formats.open_model import open_model
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.model import described
from tinyscene.runtime.scores import scores_of
from tinyscene.runtime.tflite_write import to_tflite

GRAPH = small_net(np.random.default_rng(3), grn=True)
CODES = random_input(np.random.default_rng(4), GRAPH, 5)
AXES = {"net.tflite": (0, 1, 2, 3), "net.onnx": (0, 3, 1, 2)}  # of the inputs: images of ONNX have channels first
FORMS = tuple(AXES)
HOST = ["--target", "host"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in both formats, inputs in all forms, a front end, labels and a recording."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "net.tflite").write_bytes(to_tflite(GRAPH))
    (folder / "net.onnx").write_bytes(to_onnx(GRAPH))
    for form, axes in AXES.items():
        place = folder / form.partition(".")[2]
        (place / "many").mkdir(parents=True)
        codes = CODES.transpose(axes)
        real = dequantise(codes, GRAPH.tensors[GRAPH.input].quant)
        np.save(place / "codes.npy", codes)
        np.save(place / "real.npy", real.astype(np.float64))
        for at, rows in enumerate((real[:2], real[2:])):
            np.save(place / "many" / f"{at}.npy", np.asfortranarray(rows))
    (folder / "frontend.json").write_text(json.dumps(FRONTEND.to_json()))
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    noise = np.random.default_rng(0).normal(0.0, 0.1, 2 * FRONTEND.clip_samples)
    soundfile.write(folder / "clip.wav", noise, FRONTEND.sample_rate_hz, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("bundle"))


def inputs_of(folder: Path, form: str, name: str) -> Path:
    """Inputs in the layout of the file's format."""
    return folder / form.partition(".")[2] / name


def answered(capfd: pytest.CaptureFixture[str], *words: object) -> dict:
    assert command_line.main([*map(str, words), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def refused(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    assert command_line.main([*map(str, words)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inputs", ["codes.npy", "real.npy", "many"])
def test_run_takes_inputs(form: str, inputs: str, folder: Path, capfd) -> None:
    document = answered(
        capfd, "run", folder / form, "--inputs", inputs_of(folder, form, inputs), "--engine", "numpy-double"
    )
    outputs = run(GRAPH, CODES, rounding="double").reshape(len(CODES), -1)
    rows = document["inputs"]
    assert [row["codes"] for row in rows] == outputs.tolist()
    assert [row["index"] for row in rows] == outputs.argmax(axis=1).tolist()
    assert [row["label"] for row in rows] == [str(row["index"]) for row in rows]  # numbers, where there are no labels
    np.testing.assert_allclose([row["scores"] for row in rows], scores_of(GRAPH, outputs), rtol=1e-6)


def test_run_prints_a_line_for_each_input(folder: Path, capfd) -> None:
    words = [
        "run",
        str(folder / "net.tflite"),
        "--inputs",
        str(folder / "tflite" / "codes.npy"),
        "--engine",
        "numpy-single",
    ]
    assert command_line.main([*words, "--quiet", "--labels", str(folder / "labels.txt")]) == 0
    lines = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    assert [name for name, _, _ in lines] == [f"codes.npy[{row}]" for row in range(len(CODES))]
    assert {label for _, label, _ in lines} <= set(LABELS)
    assert command_line.main(words) == 0
    assert len(capfd.readouterr().out.splitlines()) == len(CODES)


def test_real_inputs_beyond_float32_saturate_or_are_refused(folder: Path, tmp_path: Path, capfd) -> None:
    """Without a warning of NumPy on standard error."""
    for value, said in ((3e38, ""), (1e300, "values that are not finite")):
        real = np.zeros((1, *GRAPH.tensors[GRAPH.input].shape[1:]))
        real.reshape(-1)[0] = value
        np.save(tmp_path / "real.npy", real)
        words = ["run", str(folder / "net.tflite"), "--inputs", str(tmp_path / "real.npy"), "--engine", "numpy-single"]
        assert command_line.main([*words, "--quiet"]) == (2 if said else 0)
        err = capfd.readouterr().err
        assert said in err
        assert "Warning" not in err


@pytest.mark.parametrize("form", FORMS)
def test_run_takes_audio_through_a_front_end(form: str, folder: Path, capfd) -> None:
    options = ["--frontend", folder / "frontend.json", "--labels", folder / "labels.txt", "--engine", "numpy-single"]
    document = answered(capfd, "run", folder / form, folder / "clip.wav", *options)
    model = described(open_model(folder / form), str(folder / "frontend.json"), folder / "labels.txt")
    expected = list(SceneClassifier.open(model, "numpy-single").classify_file(folder / "clip.wav"))
    (clip,) = document["clips"]
    assert [hop["label"] for hop in clip["hops"]] == [hop.label for hop in expected]
    assert set(clip["scores"]) == set(LABELS)


def test_the_kind_is_that_of_the_content(folder: Path, tmp_path: Path, capfd) -> None:
    for form in FORMS:
        other = tmp_path / "model.bin"
        other.write_bytes((folder / form).read_bytes())
        assert open_model(other).graph.nodes
        assert answered(capfd, "check", other)["macs"] > 0
        assert answered(capfd, "inspect", other)["nodes"]
    other.write_bytes(b"neither")
    assert "not a model that can be opened; expected a bundle folder, or" in refused(capfd, "bench", other)
    (tmp_path / "net.pt").write_bytes(b"PK")
    assert "a checkpoint has no integer graph" in refused(capfd, "run", tmp_path / "net.pt", "--inputs", "x.npy")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (CODES[0], "not the shape of the network's input; expected (batch, 20, 14, 1)"),
        (CODES[:0], "not the shape"),
        (CODES.astype(np.int16), "type of the values; expected float16, float32, float64 (real numbers) or int8"),
        (np.full(CODES.shape, np.nan), "values that are not finite"),
        (np.array([{}]), "not an .npy file of numbers"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(array, said: str, folder: Path, tmp_path: Path, capfd) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    assert said in refused(capfd, "run", folder / "net.tflite", "--inputs", tmp_path / "x.npy")


def test_descriptions_that_do_not_fit_are_refused(folder: Path, bundle: Path, tmp_path: Path, capfd) -> None:
    net, clip, labels = folder / "net.tflite", folder / "clip.wav", tmp_path / "labels.txt"
    line = refused(capfd, "run", net, clip, "--frontend", "cpm23")
    assert "expected input (1, 20, 14, 1); got a log-mel of 256 mel bands and 64 columns" in line
    assert "unknown preset; expected cpm23 | " in refused(capfd, "run", net, clip, "--frontend", "cpm99")
    line = refused(capfd, "run", net, clip)
    assert "has no front end" in line
    assert "--frontend PRESET|FILE.json" in line
    labels.write_text("a\nb\n")
    line = refused(capfd, "run", net, "--inputs", folder / "tflite" / "codes.npy", "--labels", labels)
    assert "expected 10 lines, one label for each output; got 2 lines" in line
    for option, value in (("--frontend", "cpm23"), ("--labels", folder / "labels.txt")):
        line = refused(capfd, "run", bundle, clip, option, value)
        assert f"{option}: applies to a model without its own" in line
    line = refused(capfd, "run", net, "--inputs", folder / "tflite" / "codes.npy", "--frontend", "cpm23")
    assert "does not apply to --inputs" in line


def test_bench_measures_a_network_alone_on_codes(folder: Path, bundle: Path, tmp_path: Path, capfd) -> None:
    records = {}
    for name, model in (("file", folder / "net.tflite"), ("bundle", bundle)):
        out = tmp_path / f"{name}.json"
        records[name] = answered(capfd, "bench", model, "--engine", "numpy-single", "--seconds", "0.2", "--out", out)
    assert list(records["file"]["latency"]) == ["network"]
    assert (records["file"]["clip_s"], records["file"]["model"]) == (None, "net.tflite")
    assert list(records["bundle"]["latency"]) == ["log_mel", "network", "clip"]
    assert command_line.main(["bench", "compare", str(tmp_path / "file.json"), str(tmp_path / "file.json")]) == 0
    capfd.readouterr()
    line = refused(capfd, "bench", "compare", tmp_path / "file.json", tmp_path / "bundle.json")
    assert "one is of audio, the other of a network alone" in line


@pytest.mark.parametrize("form", FORMS)
def test_verify_and_quality_take_inputs(form: str, folder: Path, capfd) -> None:
    targets = "numpy-double,numpy-single,litert,ort"
    document = answered(
        capfd, "verify", folder / form, "--inputs", inputs_of(folder, form, "real.npy"), "--targets", targets
    )
    results = document["verification"]["results"]
    assert [row["status"] for row in results] == ["equal"] * 3 + ["named exception"]
    assert all(row["comparison"]["vectors"] == len(CODES) for row in results)
    assert "measured on 5 given inputs" in json.dumps(document)
    ranking = answered(capfd, "quality", folder / form, "--inputs", inputs_of(folder, form, "real.npy"))
    assert ranking["clips"] == len(CODES)
    assert "exactly one of --recordings and --inputs" in refused(capfd, "quality", folder / form)


@pytest.mark.needs_tool("gcc")
def test_firmware_of_files(folder: Path, tmp_path: Path, capfd) -> None:
    inputs = ["--run", "--inputs", inputs_of(folder, "net.onnx", "codes.npy")]
    document = answered(capfd, "firmware", folder / "net.onnx", *HOST, *inputs, "--out", tmp_path / "c")
    assert document["match"]
    assert len(document["vectors"]) == len(CODES)
    audio = ["--frontend", folder / "frontend.json", "--run", folder / "clip.wav"]
    document = answered(capfd, "firmware", folder / "net.tflite", *HOST, *audio, "--out", tmp_path / "app")
    assert document["match"]
    assert '"0", "1", ' in (tmp_path / "app" / "model.h").read_text()
    for words, said in ((inputs[1:], "--inputs: belongs to --run"), ([folder / "clip.wav"], "belong to --application")):
        assert said in refused(capfd, "firmware", folder / "net.tflite", *HOST, *words, "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_firmware_export_of_a_file(folder: Path, tmp_path: Path, capfd) -> None:
    words = ["firmware", "export", folder / "net.onnx", "--as", "makefile", "--out", tmp_path / "product"]
    assert not answered(capfd, *words)["audio"]
    assert "#define NEURAL_INPUT_BYTES" in (tmp_path / "product" / "include" / "neural.h").read_text()
    words[-1] = tmp_path / "scene"
    options = ["--frontend", folder / "frontend.json", "--labels", folder / "labels.txt"]
    record = answered(capfd, *words, *options)
    assert (record["format"], record["audio"]) == ("makefile", True)
    assert LABELS[0] in (tmp_path / "scene" / "include" / "scene.h").read_text()


@pytest.mark.needs_tool("gcc")
def test_an_application_of_probabilities(folder: Path, tmp_path: Path, capfd) -> None:
    """Softmax of a softmax would make every score about equal."""
    b = Builder(np.random.default_rng(8), "classes", (20, 14, 1))
    graph: Graph = b.graph(b.softmax(b.fully_connected(b.reshape(b.input, (1, 280)), 10)))
    (tmp_path / "net.tflite").write_bytes(to_tflite(graph))
    words = ["firmware", tmp_path / "net.tflite", *HOST, "--frontend", folder / "frontend.json"]
    document = answered(capfd, *words, "--run", folder / "clip.wav", "--out", tmp_path / "app")
    assert document["match"]
    quant = graph.tensors[graph.output].quant
    codes = np.full((1, 10), -128, np.int8)
    assert scores_of(graph, codes)[0].tolist() == pytest.approx([0.1] * 10)
    codes[0, :2] = (127, -64)
    real = dequantise(codes, quant)[0]
    np.testing.assert_allclose(scores_of(graph, codes)[0], real / real.sum(), rtol=1e-6)


def test_a_missing_package_names_the_extra(folder: Path, repository: Path) -> None:
    """The base install reads TFLite files, and prints what to install for ONNX files."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'lightning', 'onnx', 'onnxruntime', 'jinja2')))\n"
        "from tinyscene.command_line import main\nsys.exit(main(sys.argv[1:]))"
    )
    ran = {}
    for form in FORMS:
        words = [
            "run",
            str(folder / form),
            "--inputs",
            str(inputs_of(folder, form, "codes.npy")),
            "--engine",
            "litert",
            "--quiet",
        ]
        ran[form] = subprocess.run([sys.executable, "-c", code, *words], cwd=repository, capture_output=True, text=True)
    assert ran["net.tflite"].returncode == 0, ran["net.tflite"].stderr
    assert ran["net.onnx"].returncode == 2
    assert "needs the Python package onnx of the extra 'export', which is not installed" in ran["net.onnx"].stderr
    assert "[export]" in ran["net.onnx"].stderr


def test_a_model_with_several_rows_of_scores_has_no_audio_output(folder: Path) -> None:
    spatial = small_net(np.random.default_rng(3), grn=False)
    first = spatial.nodes[0]
    cut = replace(spatial, nodes=spatial.nodes[:1], outputs=(first.output,))
    used = {spatial.input, *first.inputs, first.output}
    cut = replace(cut, tensors={name: tensor for name, tensor in cut.tensors.items() if name in used})
    path = folder / "spatial.tflite"
    path.write_bytes(to_tflite(cut))
    with pytest.raises(TinysceneError, match="not one row of scores"):
        SceneClassifier.open(described(open_model(path), str(folder / "frontend.json")))
