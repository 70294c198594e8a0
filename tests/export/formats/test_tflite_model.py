"""A TFLite file of any maker in the place of a bundle: check, verify and firmware from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.export.formats.tflite_models import NETS
from tinyscene import command_line
from tinyscene.export.formats.tflite_model import open_tflite
from tinyscene.runtime.interpreter import run


@pytest.fixture(scope="module")
def keywords(tmp_path_factory) -> Path:
    """DS-CNN with float ends, as converters write it."""
    path = tmp_path_factory.mktemp("models") / "keywords.tflite"
    net, output = NETS["ds_cnn"](np.random.default_rng(12))
    path.write_bytes(net.finish(output, ends="float32"))
    return path


def test_golden_vectors_are_what_the_graph_computes(keywords):
    model = open_tflite(keywords)
    assert model.graph.name == "keywords"
    golden = model.golden(3)
    assert {-128, 127} < set(golden.inputs.ravel().tolist())
    for rounding, activations in golden.activations.items():
        assert set(activations) == {t.name for t in model.graph.activations()}
        wanted = run(model.graph, golden.inputs, rounding=rounding)
        assert np.array_equal(activations[model.graph.output], wanted)


def test_check_counts_the_file(keywords, capfd):
    assert command_line.main(["check", str(keywords), "--max-size", "24368", "--max-macs", "2728780"]) == 0
    assert command_line.main(["check", str(keywords), "--max-size", "24367", "--max-macs", "2728780"]) == 1
    assert "24,368 B" in capfd.readouterr().out


@pytest.mark.needs_tool("gcc")
@pytest.mark.needs_module("tflite_micro", "onnxruntime")
def test_verify_runs_the_file_as_it_was_made(keywords, capfd):
    targets = "numpy-double,ort,litert,litert-reference,tflm,c-host,c-host-single"
    assert command_line.main(["verify", str(keywords), "--targets", targets, "--json"]) == 0
    result = json.loads(capfd.readouterr().out)["verification"]
    assert [row["status"] for row in result["results"]] == ["equal"] * 7
    assert all(row["comparison"]["vectors"] == 8 for row in result["results"])


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("rounding", ["double", "single"])
def test_firmware_of_a_file(rounding, keywords, tmp_path, capfd):
    out = tmp_path / "c"
    words = ["firmware", str(keywords), "--target", "host", "--run", "--out", str(out), "--rounding", rounding]
    assert command_line.main(words) == 0
    assert "every byte of every layer matches" in capfd.readouterr().out
    assert {"model.c", "model.h", "ts_pool.c", "ts_softmax.c"} < {path.name for path in out.iterdir()}


@pytest.mark.parametrize("command", ["verify", "firmware"])
def test_what_is_no_model_is_refused_in_a_line(command, tmp_path, capfd):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\xff" * 60)
    for path, said in ((broken, "not a readable TFLite file"), (tmp_path / "gone.tflite", "no such file")):
        assert command_line.main([command, str(path)]) == 2
        printed = capfd.readouterr().err.strip().splitlines()[-1]
        assert printed.startswith("error: ")
        assert said in printed


def test_labelled_data_needs_a_bundle(keywords, tmp_path, capfd):
    assert command_line.main(["verify", str(keywords), "--data", str(tmp_path)]) == 2
    assert "has no front end" in capfd.readouterr().err
