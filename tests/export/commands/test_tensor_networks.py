"""Networks without a front end through every command: from a function or a float ONNX file to C, on arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.commands import tensor_networks
from tests.export.commands.tensor_networks import ROWS, SHAPES, write_inputs
from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.export.quantise.quantised_model import int8_outputs, vectors_of
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.bundle import read_bundle
from tinyscene.runtime.network_inputs import read_inputs
from tinyscene.training.models.checkpoint import load_any

HERE = "tests.export.commands.tensor_networks"
ENGINES = "numpy-double,numpy-single,litert,litert-reference,tflm,ort,c-host"
QUICK = ("Samples", "UNet", "TwoInputs")
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SHAPES]
Made = Callable[[str], tuple[Path, Path, Path]]


def _run(*words: object) -> int:
    return command_line.main([str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """By the name of a network: its checkpoint, inputs and bundle, made once."""
    folders: dict[str, Path] = {}

    def of(name: str) -> tuple[Path, Path, Path]:
        if name not in folders:
            torch.manual_seed(0)
            folder = folders[name] = tmp_path_factory.mktemp(name)
            shapes = [word for shape in SHAPES[name].values() for word in ("--input", "x".join(map(str, shape)))]
            assert _run("import", f"{HERE}:{name}", *shapes, "--out", folder / "net.pt", "--quiet") == 0
            words = ["--ptq", write_inputs(name, folder), "--out", folder / "bundle"]
            assert _run("export", folder / "net.pt", *words) == 0
        folder = folders[name]
        return folder / "net.pt", next(folder.glob("inputs.np*")), folder / "bundle"

    return of


@pytest.fixture(scope="module")
def labelled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("data") / "data", places=1, clips=1, rate_hz=8_000)


@pytest.mark.needs_module("ai_edge_litert", "onnxruntime", "tflite_micro")
@pytest.mark.needs_tool("gcc", "objcopy")
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_network_without_a_front_end_is_verified(name: str, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, inputs, folder = made(name)
    bundle, loaded = read_bundle(folder), load_any(checkpoint)
    assert (bundle.frontend, loaded.frontend, loaded.labels, bundle.graph.labels) == (None, None, (), ())
    assert bundle.graph.inputs == tuple(SHAPES[name])
    assert bundle.manifest.data == f"{ROWS} inputs of {inputs.name}"
    read = read_inputs(inputs, bundle)
    given = np.load(inputs)
    arrays = [given] if inputs.suffix == ".npy" else list(given.values())
    tensors = [torch.from_numpy(array) for array in arrays]
    np.testing.assert_array_equal(read.real, vectors_of(tensors))
    outputs = loaded.model(*tensors)
    exact = vectors_of((outputs,) if isinstance(outputs, torch.Tensor) else outputs)
    got = int8_outputs(bundle.graph, read.real)
    assert np.abs(got - exact).mean() < 0.05 * np.abs(exact).max()
    capsys.readouterr()
    assert _run("verify", folder, "--targets", ENGINES) == 0
    assert _run("verify", folder, "--targets", "numpy-double,litert", "--inputs", inputs) == 0
    for command in ("check", "inspect"):
        assert _run(command, checkpoint, "--json") == 0
        assert _run(command, folder) == 0
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_a_network_without_a_front_end_on_emulated_cores(name: str, made: Made) -> None:
    _, inputs, folder = made(name)
    cores = "c-cortex-m4,c-cortex-m0plus,c-cortex-m55,c-riscv32,pytorch,ort-int8,tensorflow-converter"
    assert _run("verify", folder, "--targets", cores) in (0, 3)
    assert _run("npu", folder) == 0
    words = ["--run", "--inputs", inputs, "--out", folder.parent / "c"]
    assert _run("firmware", folder, "--target", "cortex-m4", *words) == 0


@pytest.mark.parametrize("name", ["UNet", "TwoInputs"])
def test_commands_on_arrays(name: str, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    _, inputs, folder = made(name)
    capsys.readouterr()
    assert _run("quality", folder, "--inputs", inputs, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) > 2
    assert _run("bench", folder, "--engine", "numpy-double", "--seconds", "0.2", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["latency"]) == ["network"]
    assert _run("run", folder, "--engine", "numpy-double", "--inputs", inputs, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["inputs"]
    assert len(rows) == ROWS
    graph = read_bundle(folder).graph
    for end in graph.outputs:
        tensor, answer = graph.tensors[end], rows[3]["outputs"][end]
        codes = np.array(answer["codes"], np.int8)
        assert codes.shape == tensor.shape[1:]
        np.testing.assert_allclose(answer["values"], dequantise(codes, tensor.quant), rtol=1e-6)
    assert _run("run", folder, "--engine", "numpy-double", "--inputs", inputs) == 0
    assert capsys.readouterr().out.count("\n") == ROWS


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("run", "BUNDLE", "clip.wav"), "has no front end, which makes the network's input from audio"),
        (("eval", "BUNDLE", "--data", "DATA"), "has no front end, which makes the network's input from audio"),
        (("eval", "CHECKPOINT", "--data", "DATA"), "has no front end, which makes the network's input from audio"),
        (("verify", "BUNDLE", "--data", "DATA"), "the model has no front end"),
        (("quality", "BUNDLE", "--recordings", "DATA"), "has no front end, which makes the network's input from audio"),
        (("firmware", "BUNDLE", "--application"), "has no front end, which makes the network's input from audio"),
        (("firmware", "BUNDLE", "--application"), "or use 'tinyscene firmware export'"),
        (
            ("firmware", "export", "BUNDLE", "--as", "cmake", "--hop", "1"),
            "--hop: belongs to audio, and the model has no",
        ),
        (("export", "CHECKPOINT", "--qat", "DATA", "--out", "OUT"), "this network has no front end"),
        (("export", "CHECKPOINT", "--ptq", "DATA", "--out", "OUT"), "no .npy or .npz files"),
    ],
)
def test_what_needs_audio_is_refused(
    command, words, made: Made, tmp_path, monkeypatch, capsys, labelled_folder
) -> None:
    checkpoint, _, bundle = made("UNet")
    monkeypatch.chdir(tmp_path)
    places = {"BUNDLE": bundle, "CHECKPOINT": checkpoint, "DATA": labelled_folder, "OUT": tmp_path / "out"}
    capsys.readouterr()
    assert _run(*(places.get(word, word) for word in command)) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


_IMAGES = np.zeros((4, 3, 12, 10), np.float32)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (_IMAGES, "the network has several inputs; expected an .npz file with the arrays 'image', 'pose'"),
        ({"image": _IMAGES}, "not the network's inputs; expected 'image', 'pose'; got 'image'"),
        ({"image": _IMAGES, "pose": np.zeros((4, 6)), "more": np.zeros((4, 6))}, "got 'image', 'pose', 'more'"),
        ({"image": _IMAGES, "pose": np.zeros((3, 6))}, "input 'pose': another batch; expected 4; got 3"),
        ({"image": _IMAGES, "pose": np.zeros((4, 7))}, "not the shape of the network's input; expected (batch, 6)"),
        ({"image": _IMAGES.transpose(0, 2, 3, 1), "pose": np.zeros((4, 6))}, "expected (batch, 3, 12, 10)"),
        ({"image": _IMAGES[:0], "pose": np.zeros((0, 6))}, "expected (batch, 3, 12, 10); got (0, 3, 12, 10)"),
        ({"image": _IMAGES * np.nan, "pose": np.zeros((4, 6))}, "values that are not finite"),
        ({"image": _IMAGES, "pose": np.full((4, 6), 1e300)}, "values that are not finite"),
        ({"image": _IMAGES, "pose": np.zeros((4, 6), np.int32)}, "expected float16, float32, float64 (real numbers)"),
        ({"image": _IMAGES.astype(np.int8), "pose": np.zeros((4, 6))}, "expected float16, float32, float64 (real"),
    ],
)
def test_arrays_that_are_no_inputs_are_one_line(arrays, words, made: Made, tmp_path, capsys) -> None:
    checkpoint, _, _ = made("TwoInputs")
    path = tmp_path / ("x.npz" if isinstance(arrays, dict) else "x.npy")
    np.savez(path, **arrays) if isinstance(arrays, dict) else np.save(path, arrays)
    capsys.readouterr()
    assert _run("export", checkpoint, "--ptq", path, "--out", tmp_path / "bundle") == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_labels_and_one_row_of_calibration(made: Made, tmp_path, capsys) -> None:
    """Labels of a network without a front end name its scores; one input is enough to calibrate with."""
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    words = ["--input", "1x1600", "--labels", tmp_path / "labels.txt", "--out", tmp_path / "net.pt"]
    assert _run("import", f"{HERE}:Samples", *words) == 0
    assert "the network has no front end" in capsys.readouterr().err
    inputs = write_inputs("Samples", tmp_path, 1)
    assert _run("export", tmp_path / "net.pt", "--ptq", inputs, "--out", tmp_path / "b", "--json") == 0
    assert json.loads(capsys.readouterr().out)["top1_agreement_with_float"] == 1.0
    assert _run("run", tmp_path / "b", "--engine", "numpy-double", "--inputs", inputs, "--quiet") == 0
    assert capsys.readouterr().out.split("\t")[1] in "abcd"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("UNet", ["--input", "2x16x12", "--labels", "LABELS"], "--labels: does not fit the network's outputs"),
        ("UNet", ["--input", "2x16x12", "--frontend", "cpm23"], "is not a log-mel"),
        ("Samples", ["--input", "1x1600", "--labels", "LABELS"], "--labels: not one per output; expected 4; got 3"),
        ("TwoInputs", ["--input", "3x12x10"], "missing a required argument: 'pose'"),
        ("Image", [], "its input is not known"),
    ],
)
def test_imports_that_do_not_fit_are_one_line(name, options, words, tmp_path, capsys) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    options = [tmp_path / "labels.txt" if word == "LABELS" else word for word in options]
    assert _run("import", f"{HERE}:{name}", *options, "--out", tmp_path / "net.pt") == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


@torch.no_grad()
def test_a_float_onnx_file_without_a_front_end(tmp_path, capsys) -> None:
    torch.manual_seed(0)
    network, shapes = tensor_networks.TwoInputs().eval(), SHAPES["TwoInputs"]
    examples = tuple(torch.zeros(1, *shape) for shape in shapes.values())
    names = {"input_names": list(shapes), "output_names": ["scores", "places"]}
    torch.onnx.export(network, examples, tmp_path / "net.onnx", dynamo=False, opset_version=17, **names)
    assert _run("import", tmp_path / "net.onnx") == 0
    assert "3x12x10 and 6 to 4 and 2x6x5" in capsys.readouterr().out
    loaded = load_any(tmp_path / "net.pt")
    inputs = [torch.randn(3, *shape) for shape in shapes.values()]
    for got, expected in zip(loaded.model(*inputs), network(*inputs), strict=True):
        torch.testing.assert_close(got, expected)
    words = ["--ptq", write_inputs("TwoInputs", tmp_path), "--out", tmp_path / "bundle"]
    assert _run("export", tmp_path / "net.pt", *words) == 0
    assert _run("verify", tmp_path / "bundle", "--targets", "numpy-double,numpy-single") == 0
