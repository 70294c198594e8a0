"""Commands on a file with two inputs and two outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder, random_input
from tinyscene import command_line
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite
from tinyscene.runtime.vectors import dequantised, parted


def network() -> Graph:
    """Images of two shapes, and outputs of two shapes."""
    b = Builder(np.random.default_rng(5), "two", (6, 5, 3))
    gate = b.mean(b.conv(b.new_input("other", (3, 2, 4)), (1, 1), channels=3))
    features = b.mul(b.input, gate)
    return b.graph(b.mean(features, keep_dims=False), features)


GRAPH = network()
CODES = random_input(np.random.default_rng(1), GRAPH, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in both formats and its inputs: codes for TFLite, for ONNX real numbers with channels first."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "net.tflite").write_bytes(to_tflite(GRAPH))
    (folder / "net.onnx").write_bytes(to_onnx(GRAPH))
    np.savez(folder / "tflite.npz", **parted(GRAPH, GRAPH.inputs, CODES))
    real = parted(GRAPH, GRAPH.inputs, dequantised(GRAPH, GRAPH.inputs, CODES))
    np.savez(folder / "onnx.npz", **{name: np.ascontiguousarray(np.moveaxis(x, 3, 1)) for name, x in real.items()})
    return folder


def answered(capfd: pytest.CaptureFixture[str], *words: object) -> dict:
    assert command_line.main([*map(str, words), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def refused(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    assert command_line.main([str(word) for word in words]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_a_file_is_checked_inspected_and_verified(form: str, folder: Path, tmp_path: Path, capfd) -> None:
    net, inputs = folder / f"net.{form}", folder / f"{form}.npz"
    assert answered(capfd, "check", net)["macs"] > 0
    inspected = answered(capfd, "inspect", net, "--svg", tmp_path / "net.svg")
    assert [tensor["name"] for tensor in inspected["inputs"]] == ["input", "other"]
    assert [tensor["name"] for tensor in inspected["outputs"]] == list(GRAPH.outputs)
    picture = (tmp_path / "net.svg").read_text()
    assert all(f'id="{end}-{number}"' in picture for end in ("input", "output") for number in (0, 1))
    page = tmp_path / "report.html"
    words = ("--inputs", inputs, "--targets", "numpy-double,litert", "--report", page)
    verified = answered(capfd, "verify", net, *words)
    assert {result["status"] for result in verified["verification"]["results"]} == {"equal"}
    assert page.read_text().count("<span>input <b>") == 2


@pytest.mark.needs_tool("gcc")
def test_a_file_is_run_as_firmware(folder: Path, tmp_path: Path, capfd) -> None:
    words = ("--target", "host", "--run", "--inputs", folder / "tflite.npz", "--out", tmp_path / "c")
    assert command_line.main(["firmware", str(folder / "net.tflite"), *map(str, words)]) == 0
    assert "every byte of every layer matches" in capfd.readouterr().out
    header = (tmp_path / "c" / "model.h").read_text()
    assert "#define TS_MODEL_INPUTS 2\n" in header
    assert "/* input 1: other (3, 2, 4) */\n#define TS_MODEL_INPUT_1_BYTES 24\n" in header


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_a_file_is_exported_for_a_project(form: str, folder: Path, tmp_path: Path, capfd) -> None:
    """Codes have channels last, so that the axes of an ONNX file are in another order."""
    words = ("firmware", "export", folder / f"net.{form}", "--as", "platformio", "--out", tmp_path / "out")
    assert not answered(capfd, *words)["audio"]
    header, readme = (tmp_path / "out" / name for name in ("include/neural.h", "README.md"))
    assert '#define NEURAL_INPUT_1_NAME "other"\n#define NEURAL_INPUT_1_SHAPE {3, 2, 4}\n' in header.read_text()
    axes = "Axes of `other` in the order of the codes, as the model's own input numbers them: 2, 3, 1."
    assert (axes in readme.read_text()) == (form == "onnx")
    assert not (tmp_path / "out" / "serial").exists()


def test_what_takes_one_input_and_one_output_refuses_two(folder: Path, tmp_path: Path, capfd) -> None:
    net, inputs = folder / "net.tflite", folder / "tflite.npz"
    line = refused(capfd, "firmware", "serial", net)
    assert "has several inputs, where this takes a network with one; expected 1; got 2: input, other; next: " in line
    assert "has several outputs" in refused(capfd, "run", net, "--inputs", inputs, "--labels", inputs)
    targets = ("--targets", "coreml,tensorflow-converter,hexagon", "--inputs", inputs)
    assert command_line.main(["verify", str(net), *map(str, targets), "--json"]) in (0, 3)
    for result in json.loads(capfd.readouterr().out)["verification"]["results"]:
        assert result["status"] in ("refused", "skipped")


def test_outputs_are_printed_and_their_error_is_measured(folder: Path, capfd) -> None:
    words = folder / "net.tflite", "--inputs", folder / "tflite.npz"
    rows = answered(capfd, "run", *words, "--engine", "numpy-double")["inputs"]
    expected = parted(GRAPH, GRAPH.outputs, run(GRAPH, CODES))
    for at, row in enumerate(rows):
        assert {name: row["outputs"][name]["codes"] for name in GRAPH.outputs} == {
            name: codes[at].tolist() for name, codes in expected.items()
        }
    ranking = answered(capfd, "quality", *words)
    assert ranking["agreement"] is None
    assert {row["quality"]["name"] for row in ranking["rows"]} == {tensor.name for tensor in GRAPH.activations()}


FAULTS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "another name": ({"input": (3, 6, 5, 3), "x": (3, 3, 2, 4)}, "not the network's inputs; expected 'input', 'other'"),
    "one missing": ({"input": (3, 6, 5, 3)}, "not the network's inputs"),
    "another batch": ({"input": (3, 6, 5, 3), "other": (2, 3, 2, 4)}, "'other': another batch; expected 3; got 2"),
    "no batch": ({"input": (), "other": (2, 3, 2, 4)}, "input 'input': not the shape of the network's input"),
    "another shape": ({"input": (3, 6, 5, 3), "other": (3, 4, 2, 3)}, "input 'other': not the shape"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_inputs_that_do_not_fit_are_refused(fault: str, folder: Path, tmp_path: Path, capfd) -> None:
    arrays, said = FAULTS[fault]
    np.savez(tmp_path / "x.npz", **{name: np.zeros(shape, np.int8) for name, shape in arrays.items()})
    assert said in refused(capfd, "verify", folder / "net.tflite", "--inputs", tmp_path / "x.npz")


def test_one_array_is_not_enough(folder: Path, tmp_path: Path, capfd) -> None:
    np.save(tmp_path / "x.npy", CODES)
    line = refused(capfd, "verify", folder / "net.tflite", "--inputs", tmp_path / "x.npy")
    assert "the network has several inputs; expected an .npz file with the arrays 'input', 'other'" in line
    assert "next: write it with numpy.savez" in line
