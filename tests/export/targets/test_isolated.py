"""Native engines in worker processes: they answer as in this process, and their death is a finding with a name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.export.formats.tflite_models import Net, ds_cnn
from tests.graphs import random_input, small_net
from tinyscene import command_line
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.targets import isolated
from tinyscene.export.targets.isolated import Isolated, WorkerEngine, outputs_of_file
from tinyscene.export.targets.table import TARGETS, Exposed, TargetRow, own_files
from tinyscene.export.verify.verify import verify
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite

GRAPH = small_net(np.random.default_rng(0), grn=False)


@pytest.mark.needs_module("tflite_micro", "onnxruntime")
@pytest.mark.parametrize("name", ["litert", "tflm", "ort-int8"])
def test_a_worker_answers_as_the_engine_does_here(name):
    row, files = TARGETS[name], Exposed(GRAPH)
    assert isinstance(row, TargetRow)
    engine, here = row.open(Isolated(files)), row.open(files)
    assert isinstance(engine, WorkerEngine)
    assert (engine.name, engine.rounding) == (here.name, here.rounding)
    x = random_input(np.random.default_rng(1), GRAPH, 2)
    outputs, expected = engine.outputs(x), here.outputs(x)
    assert outputs.keys() == expected.keys()
    assert all(np.array_equal(outputs[tensor], expected[tensor]) for tensor in expected)


def test_death_of_an_engine_is_named_and_the_other_targets_run(crashing, monkeypatch):
    monkeypatch.setattr(isolated, "LocalPython", lambda: crashing)
    changed = ChangedFiles(GRAPH)
    assert not own_files(changed)
    inputs = random_input(np.random.default_rng(1), GRAPH, 1)
    result = verify(GRAPH, inputs, targets=("litert", "numpy-double"), shipped=changed)
    died, equal = result.results
    assert (died.status, equal.status) == ("failed", "equal")
    assert died.note == "litert: died with SIGSEGV; got last output: loading the model"


class ChangedFiles(Exposed):
    """Files that this version does not write for the graph."""

    def file(self, name: str) -> bytes:
        return to_tflite(replace(self.graph, name="renamed")) if name == TFLITE_MODEL else super().file(name)


def test_files_of_a_bundle_are_recognised(tiny_bundle):
    assert own_files(tiny_bundle)


def test_a_foreign_file_is_read_as_verify_does_and_run_in_a_worker():
    net, output = ds_cnn(np.random.default_rng(0))
    data = net.finish(output, ends="float32")
    (codes,) = outputs_of_file(data, "litert").values()
    assert codes.dtype == np.int8
    assert len(codes) == 2
    with pytest.raises(ExportError, match="not a readable TFLite file"):
        outputs_of_file(data[:100], "litert")


@pytest.mark.needs_module("tflite_micro")
def test_verify_of_a_foreign_file_survives_its_engines(tmp_path, crashing, monkeypatch, capfd):
    path = tmp_path / "net.tflite"
    net, output = ds_cnn(np.random.default_rng(0))
    path.write_bytes(net.finish(output))
    monkeypatch.setattr(isolated, "LocalPython", lambda: crashing)
    assert command_line.main(["verify", str(path), "--targets", "numpy-single,tflm", "--json"]) == 1
    rows = json.loads(capfd.readouterr().out)["verification"]["results"]
    assert [row["status"] for row in rows] == ["equal", "failed"]
    assert "died with SIGSEGV" in rows[1]["note"]


@pytest.mark.needs_module("ai_edge_litert", "onnxruntime", "tflite_micro")
@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_a_convolution_without_a_bias_runs_with_one_of_zeros(kind: str) -> None:
    """LiteRT's default kernels end the process for a depthwise convolution with two inputs."""
    net = Net(np.random.default_rng(0), (6, 5, 3))
    out = net.conv(net.input, 4, (2, 2)) if kind == "conv" else net.depthwise(net.input, (2, 2), (1, 1))
    net.operators[-1].inputs = net.operators[-1].inputs[:2]
    model = tflite_model(net.finish(out), "m.tflite")
    codes = model.golden(2).inputs
    for engine, rounding in (("litert", "single"), ("litert-reference", "double"), ("tflm", "double")):
        expected = run(model.graph, codes, rounding=rounding)
        assert np.array_equal(WorkerEngine(engine, model, timeout_seconds=60).output_codes(codes), expected), engine
