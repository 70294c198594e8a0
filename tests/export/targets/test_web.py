"""Engines of web pages: each file gives the codes of the same engine outside the browser, to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tinyscene.export.targets import environments
from tinyscene.export.targets.table import TARGETS, Exposed, TargetRow
from tinyscene.export.targets.web import SAME_AS
from tinyscene.export.verify.results import TargetResult
from tinyscene.export.verify.verify import verify
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph

QUICK = (
    *("conv2d", "depthwise_conv2d", "fully_connected", "batch_matmul", "add", "mul", "mean", "pool2d", "softmax"),
    *("lookup", "resize", "lstm"),
)
REFUSED = {
    ("ort-web", "lstm"): "ONNX has an LSTM of real numbers only",
    ("litert-web", "lstm"): "Variable tensors not yet supported",
    ("litert-web", "pad"): "beyond the engine's limit of dimensions",  # as outside the browser
}
of_both = pytest.mark.parametrize("name", SAME_AS)


def _verified(name: str, graph: Graph, codes: I8) -> TargetResult:
    (result,) = verify(graph, codes, targets=[name]).results
    return result


def _outputs(name: str, graph: Graph, codes: I8) -> dict[str, I8]:
    row = TARGETS[name]
    assert isinstance(row, TargetRow)
    return row.open(Exposed(graph)).outputs(codes)


@pytest.mark.foreign("web")
@of_both
@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
def test_a_small_net(name: str, grn: bool) -> None:
    graph = small_net(np.random.default_rng(3), grn=grn)
    result = _verified(name, graph, random_input(np.random.default_rng(4), graph, 4))
    assert result.comparison is not None, result.note
    assert result.status == ("named exception" if grn and name == "ort-web" else "equal")
    assert result.comparison.bytes_different <= 2  # products at near-ties in ONNX Runtime
    assert result.comparison.bytes_compared > 20_000
    assert " in Node.js 24." in result.note


@pytest.mark.foreign("web")
@pytest.mark.needs_module("onnxruntime", "ai_edge_litert")
@of_both
@pytest.mark.parametrize("kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in OP_KINDS])
def test_every_op_gives_the_codes_of_the_engine_outside_the_browser(name: str, kind: str) -> None:
    graph = one_op(np.random.default_rng(1), kind)
    codes = random_input(np.random.default_rng(2), graph, 4)
    if reason := REFUSED.get((name, kind)):
        result = _verified(name, graph, codes)
        assert (result.status, reason in result.note) == ("refused", True), result.note
        return
    in_page, outside = _outputs(name, graph, codes), _outputs(SAME_AS[name], graph, codes)
    assert in_page.keys() == outside.keys()
    for activation, array in outside.items():
        assert in_page[activation].shape == array.shape
        np.testing.assert_array_equal(in_page[activation], array, err_msg=activation)


@of_both
def test_a_missing_environment_is_a_named_skip(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path))
    graph = small_net(np.random.default_rng(3), grn=False)
    result = _verified(name, graph, random_input(np.random.default_rng(4), graph))
    assert result.status == "skipped"
    assert "python -m tinyscene.export.targets.environments web" in result.note


def test_every_npm_package_is_pinned_with_its_hash() -> None:
    wanted, lock = (json.loads(path.read_text()) for path in environments.NPM_FILES)
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert wanted["dependencies"] == lock["packages"][""]["dependencies"]
    for name, version in wanted["dependencies"].items():
        assert packages[f"node_modules/{name}"]["version"] == version, name
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
