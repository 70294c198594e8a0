"""LiteRT on a uint8 file with its own types: the judge of the int8 form that was read from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert.interpreter")

from tests.export.formats.test_tflite_uint8 import ALONE, uint8_file
from tests.export.formats.tflite_models import Edge, Net
from tinyscene import command_line
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.formats.tflite_original import TfliteOriginal
from tinyscene.export.targets import tflite_original
from tinyscene.export.targets.table import TARGETS, targets_of
from tinyscene.export.verify.results import TargetResult
from tinyscene.export.verify.verify import verify


def judged(model: FileModel, target: str = "litert-original", vectors: int = 3) -> TargetResult:
    (result,) = verify(model.graph, model.golden(vectors).inputs, targets=(target,), shipped=model).results
    return result


def mobile(net: Net) -> Edge:
    """A depthwise convolution of one channel, and one of several, behind whose RELU6 is a table."""
    x = net.conv(net.depthwise(net.conv(net.input, 1), (3, 3), (2, 2), "RELU", multiplier=8), 8, activation="RELU6")
    x = net.conv(net.depthwise(x, (3, 3), (1, 1), "RELU6"), 12, (4, 5), activation="RELU6", padding="VALID")
    return net.softmax(net.dense(net.flat(x), 5))


@pytest.mark.parametrize("zero_point", [128, 60])
def test_a_file_is_compared_with_its_int8_form_op_by_op(zero_point: int) -> None:
    model = tflite_model(uint8_file(mobile, zero_point=zero_point), "m.tflite")
    result = judged(model, vectors=32)
    assert result.status == "named exception", result
    assert result.comparison is not None
    (exception,) = result.comparison.exceptions
    assert exception.endswith("LiteRT's depthwise convolutions of uint8 round twice")
    assert isinstance(model.original, TfliteOriginal)
    outputs = [model.graph.out(node) for node in model.graph.nodes if node.output in model.original.file.names]
    assert len(outputs) == 8
    assert result.comparison.bytes_compared == 32 * sum(tensor.n_bytes for tensor in outputs)


def test_constant_channels_of_the_file_are_left_out_of_the_comparison() -> None:
    def step(net: Net) -> Edge:
        x = net.conv(net.input, 6, (3, 3))
        weight = net.buffers[net.tensors[net.operators[0].inputs[1]].buffer]
        weight.data = np.where(np.arange(6)[:, None] == 2, 0, np.array(weight.data).reshape(6, -1)).ravel()
        return net.conv(x, 5, (2, 2))

    model = tflite_model(uint8_file(step), "m.tflite")
    assert model.constant_channels_removed == 1
    assert judged(model).status == "equal"


def test_several_inputs_and_outputs_of_a_file_with_real_ends() -> None:
    net = Net(np.random.default_rng(5), (8, 9, 6), per_channel=False)
    x = net.pair("ADD", net.input, net.new_input((8, 9, 6)))
    flat = net.flat(x)
    net.become_uint8()
    model = tflite_model(net.finish(flat, x, flat, ends="float32"), "m.tflite")
    result = judged(model)
    assert result.status == "equal", result


def test_a_file_that_is_not_what_was_read_differs() -> None:
    model, other = (tflite_model(uint8_file(ALONE["CONV_2D"], zero_point=at), "m.tflite") for at in (128, 131))
    result = judged(replace(model, original=other.original))
    assert result.status == "different"
    assert "(conv2d)" in result.remarks()[-1]


def test_a_command_says_what_ran_and_what_did_not(crashing, monkeypatch, tmp_path: Path, capfd) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(uint8_file(ALONE["MAX_POOL_2D"]))
    words = ["verify", str(path), "--targets", "litert-original,tflm-original,litert", "--json"]
    assert command_line.main(words) == 0
    verification = json.loads(capfd.readouterr().out)["verification"]
    assert [each["status"] for each in verification["results"]] == ["equal", "skipped", "equal"]
    assert "TensorFlow Lite Micro has no uint8 kernels" in verification["results"][1]["note"]
    (note,) = verification["notes"]
    assert note == "`litert-original` runs the file's uint8 codes, every other target the int8 codes 128 lower"
    monkeypatch.setattr(tflite_original, "LocalPython", lambda: crashing)
    died = judged(tflite_model(path.read_bytes(), "m.tflite"))
    assert (died.status, "died with SIGSEGV" in died.note) == ("failed", True)


def test_other_models_have_no_uint8_original() -> None:
    uint8 = tflite_model(uint8_file(ALONE["RELU"]), "m.tflite")
    net = Net(np.random.default_rng(5), (8, 9, 6))
    int8 = tflite_model(net.finish(net.conv(net.input, 4), ends="uint8"), "m.tflite")
    assert {*TARGETS} - {*targets_of(uint8)} == {"ort-original", "ort-original-float"}
    assert {*targets_of(uint8)} - {*targets_of(int8)} == {"litert-original", "tflm-original"}
    assert int8.notes() == ()
    for target in ("litert-original", "tflm-original"):
        result = judged(int8, target)
        assert (result.status, "the model is no TFLite file of uint8" in result.note) == ("refused", True)
