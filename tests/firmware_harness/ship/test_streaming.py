"""`tinyscene firmware export` of networks that keep states: consecutive runs, and a sequence that begins again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.export.formats.tflite_streaming import wake_word
from tinyscene import command_line
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.firmware_harness.build.targets import SANITIZERS
from tinyscene.firmware_harness.ship.formats import FORMATS, contents, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.states import in_turn, results_of

HERE = Path(__file__).resolve().parent
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-Wpedantic", "-std=c99")
RUNS = 9


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net, out = wake_word(np.random.default_rng(5))
    path = tmp_path_factory.mktemp("net") / "wake.tflite"
    path.write_bytes(net.streaming_file(out))
    return path


def _answers(path: Path, given: I8, rounding: Rounding) -> list[str]:
    graph = tflite_model(path.read_bytes(), path.name).graph
    outputs = results_of(graph, in_turn(graph, given, lambda codes: run(graph, codes, rounding=rounding))[1])
    return [" ".join(map(str, row.ravel().tolist())) for row in outputs]


def _given(path: Path) -> I8:
    graph = tflite_model(path.read_bytes(), path.name).graph
    shape = (RUNS, *graph.tensors[graph.input].shape[1:])
    return np.random.default_rng(6).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("compiler", [pytest.param(c, marks=pytest.mark.needs_tool(c)) for c in ("gcc", "clang")])
@pytest.mark.parametrize("rounding", ["double", "single"])
def test_a_sequence_and_the_same_one_again(rounding: Rounding, compiler: str, file: Path, tmp_path: Path) -> None:
    model, given = tflite_model(file.read_bytes(), file.name), _given(file)
    export(Product(model, Options(prefix="asc", rounding=rounding), "tinyscene"), FORMATS["makefile"], tmp_path / "asc")
    program = tmp_path / "program"
    sources = [HERE / "reset_check.c", tmp_path / "asc" / "src" / "asc.c"]
    checks = SANITIZERS if compiler == "gcc" else ()
    words = [compiler, *STRICT, *checks, "-O1", *sources, f"-I{tmp_path / 'asc' / 'include'}", "-lm", "-o", program]
    subprocess.run(words, check=True)
    ran = subprocess.run([program], input=given.tobytes(), capture_output=True, check=True)
    assert ran.stdout.decode().split("\n")[:-1] == 2 * _answers(file, given, rounding)


@pytest.mark.needs_tool("make", "gcc")
def test_the_example_prints_consecutive_runs(file: Path, tmp_path: Path) -> None:
    given = _given(file)
    words = ["firmware", "export", file, "--as", "makefile", "--out", tmp_path / "out", "--quiet"]
    assert command_line.main([str(word) for word in words]) == 0
    subprocess.run(["make", "-C", tmp_path / "out", "example"], check=True, capture_output=True)
    example = tmp_path / "out" / "build" / "neural_example"
    printed = subprocess.run([example], input=given.tobytes(), capture_output=True, check=True).stdout.decode()
    assert printed.splitlines() == ["self-test 0", *_answers(file, given, "double")]
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "The network keeps 131 bytes in the arena from one run to the next." in readme


def test_what_is_about_one_function_or_audio_says_that_there_are_states(file: Path, capsys) -> None:
    model = tflite_model(file.read_bytes(), file.name)
    files = contents(Product(model, Options(), "tinyscene"), FORMATS["cmake"])
    assert not any(path.startswith("serial/") for path in files)
    words = ["firmware", "serial", file, "--board", "mps2-an386"]
    assert command_line.main([str(word) for word in words[:3]]) == 2
    assert "keeps states between runs" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["numpy-double", "tflm", "litert-reference", "ort"])
@pytest.mark.needs_module("tflite_micro", "onnxruntime")
def test_run_takes_consecutive_inputs(engine: str, file: Path, tmp_path: Path, capsys) -> None:
    given = _given(file)
    np.save(tmp_path / "x.npy", given)
    words = ["run", file, "--inputs", tmp_path / "x.npy", "--engine", engine, "--quiet"]
    assert command_line.main([str(word) for word in words]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    codes = [round(256 * float(line[-1])) - 128 for line in lines]
    expected = [int(row) for row in _answers(file, given, "single" if engine == "ort" else "double")]
    assert max(abs(a - b) for a, b in zip(codes, expected, strict=True)) <= 1  # LOGISTIC, a named exception
