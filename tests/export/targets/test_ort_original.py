"""ONNX Runtime on the bytes that a user gave: the judge of what was read from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from tests.export.formats.onnx_networks import NETWORKS, float_onnx, quantised_onnx
from tests.graphs import small_net
from tinyscene import command_line
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.onnx_model import open_onnx
from tinyscene.export.targets import ort_original
from tinyscene.export.targets.table import Exposed, targets_of
from tinyscene.export.verify.results import Verification
from tinyscene.export.verify.verify import verify

pytestmark = pytest.mark.needs_module("onnxruntime")
ORIGINALS = ("ort-original", "ort-original-float")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "pools.onnx"
    path.write_bytes(quantised_onnx(float_onnx(*NETWORKS["pools"])))
    return path


def verified(model: FileModel, *targets: str) -> Verification:
    return verify(model.graph, model.golden(3).inputs, targets=targets, shipped=model)


@pytest.mark.parametrize(("activations", "target"), [("QUInt8", "ort-original"), ("QInt8", "ort-original-float")])
def test_a_file_is_compared_with_itself_op_by_op(activations: str, target: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(quantised_onnx(float_onnx(*NETWORKS["residual"]), activations=activations))
    model = open_onnx(path)
    (result,) = verified(model, target).results
    assert result.status == "equal", result
    assert result.comparison is not None
    shown = [model.graph.out(node) for node in model.graph.nodes]
    assert result.comparison.bytes_compared == 3 * sum(tensor.n_bytes for tensor in shown)


def test_constant_channels_of_the_file_are_left_out_of_the_comparison(tmp_path: Path) -> None:
    """The graph has seven of eight channels, ONNX Runtime all of them."""
    layers = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        layers[0].weight[1] = 0
    path = tmp_path / "net.onnx"
    path.write_bytes(quantised_onnx(float_onnx(lambda: layers, (1, 1, 8, 8))))
    model = open_onnx(path)
    assert model.constant_channels_removed == 1
    (result,) = verified(model, "ort-original").results
    assert result.status == "equal", result


def test_what_onnx_runtime_rounds_otherwise_is_named(pools: Path) -> None:
    (result,) = verified(open_onnx(pools), "ort-original").results
    assert result.status == "named exception"
    assert result.comparison is not None
    (exception,) = result.comparison.exceptions
    assert exception.startswith("pool2d: ONNX Runtime rounds an average half to even")


def test_a_file_that_is_not_what_was_read_differs(pools: Path) -> None:
    model = open_onnx(pools)
    assert model.original is not None
    file = onnx.load_from_string(model.original.data)
    bias = next(each for each in file.graph.initializer if each.name.endswith("bias_quantized"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.int32(400), bias.name))
    changed = replace(model.original, data=file.SerializeToString())
    (result,) = verified(replace(model, original=changed), "ort-original").results
    assert result.status == "different"
    assert "(fully_connected)" in result.remarks()[-1]


def test_death_of_onnx_runtime_is_a_finding(pools: Path, crashing, monkeypatch, capfd) -> None:
    monkeypatch.setattr(ort_original, "LocalPython", lambda: crashing)
    words = ["verify", str(pools), "--targets", "ort-original,numpy-single", "--json"]
    assert command_line.main(words) == 1
    died, equal = json.loads(capfd.readouterr().out)["verification"]["results"]
    assert (died["status"], equal["status"]) == ("failed", "equal")
    assert "died with SIGSEGV" in died["note"]


def test_other_models_have_no_original(pools: Path) -> None:
    graph = small_net(np.random.default_rng(0), grn=False)
    inputs = np.zeros((1, *graph.tensors[graph.input].shape[1:]), np.int8)
    (result,) = verify(graph, inputs, targets=("ort-original",)).results
    assert result.status == "refused"
    assert "the model is no ONNX file made elsewhere; expected an .onnx file" in result.note
    assert set(targets_of(open_onnx(pools))) - set(targets_of(Exposed(graph))) == set(ORIGINALS)
