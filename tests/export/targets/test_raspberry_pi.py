"""The emulated Raspberry Pi compared with the graph, op by op: the same wheels, another processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder, random_input, small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.targets import raspberry_pi
from tinyscene.export.targets.raspberry_pi import MODEL_OF, PROCESSORS, PiEngine
from tinyscene.export.targets.table import Exposed
from tinyscene.export.verify.op_comparison import compare
from tinyscene.export.verify.verify import verify
from tinyscene.runtime import ops
from tinyscene.runtime.arith import conv_rescale, rescale_cut
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.interpreter import run


@pytest.fixture(scope="module")
def emulated_pi() -> None:
    """A skip with the reason where the arm64 system is not available: no root, no tools, no network."""
    try:
        raspberry_pi.pi_root()
    except ExportError as problem:
        pytest.skip(str(problem))


@pytest.mark.slow
@pytest.mark.usefixtures("emulated_pi")
@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
@pytest.mark.parametrize("engine", MODEL_OF)
def test_a_raspberry_pi_4_computes_the_same(engine: str, grn: bool) -> None:
    graph = small_net(np.random.default_rng(3), grn=grn)
    x = random_input(np.random.default_rng(4), graph, 3)
    opened = PiEngine(Exposed(graph), PROCESSORS["pi4"], engine)
    result = compare(opened.name, opened.rounding, graph, x, opened.outputs(x))
    assert result.first_difference is None
    assert result.bytes_different <= (3 if engine == "ort" else 0)
    (note,) = opened.notes  # XNNPACK was used, or a second note would say so
    assert "aarch64, cortex-a72" in note


@pytest.mark.slow
@pytest.mark.usefixtures("emulated_pi")
def test_a_raspberry_pi_3_computes_the_same_scores() -> None:
    graph = small_net(np.random.default_rng(3), grn=True)
    x = random_input(np.random.default_rng(4), graph, 3)
    scores = PiEngine(Exposed(graph), PROCESSORS["pi3"], "litert").output_codes(x)
    assert np.array_equal(scores, run(graph, x, rounding="single"))


def test_what_is_missing_is_a_named_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path))
    monkeypatch.setattr(raspberry_pi.shutil, "which", lambda _: None)
    graph = small_net(np.random.default_rng(3), grn=False)
    (result,) = verify(graph, random_input(np.random.default_rng(4), graph), targets=("pi4-litert",)).results
    assert result.status == "skipped"
    assert "apt-get install mmdebstrap" in result.note
    assert not list(tmp_path.iterdir())


def _products(seed: int) -> Graph:
    """Products of every pair of 256 codes with 256 others."""
    b = Builder(np.random.default_rng(seed), "products", (256, 256, 2))
    first, second = b.conv(b.input, (1, 1), channels=1), b.conv(b.input, (1, 1), channels=1)
    return b.graph(b.mul(first, second))


def _cut(graph: Graph, first: I8, second: I8) -> I8:
    a, b = (graph.tensors[name].quant for name in graph.nodes[-1].inputs)
    out = graph.tensors[graph.output].quant
    products = (first.astype(np.int64) - a.zero_point) * (second.astype(np.int64) - b.zero_point)
    return np.clip(rescale_cut(products, conv_rescale(a, b, out).factor) + out.zero_point, -128, 127).astype(np.int8)


@pytest.mark.slow
@pytest.mark.usefixtures("emulated_pi")
def test_products_are_rescaled_in_fixed_point_on_arm64_and_differ_at_near_ties() -> None:
    graph = _products(5)
    x = np.stack(np.meshgrid(*2 * [np.arange(-128, 128)]), 2).astype(np.int8)[None]
    shown = PiEngine(Exposed(graph), PROCESSORS["pi4"], "litert").outputs(x)
    first, second = (shown[name] for name in graph.nodes[-1].inputs)
    assert np.array_equal(shown[graph.output], _cut(graph, first, second))
    result = compare("pi4-litert", "single", graph, x, shown)
    assert 0 < result.bytes_different < 10
    assert result.first_difference is None
    assert any("in fixed point on arm64" in reason for reason in result.exceptions)


@pytest.mark.slow
@pytest.mark.usefixtures("emulated_pi")
def test_a_mean_is_rounded_once_on_arm64_and_differs_at_near_ties() -> None:
    """-104.500022, from the published network: the product rounds to -104.5 when the zero points are added apart."""
    b = Builder(np.random.default_rng(0), "mean", (64, 16, 1), Quant.per_tensor(0.04600103572010994, -128))
    out = Quant.per_tensor(0.005149888340383768, -128)
    graph = b.graph(b.node(ops.Reduce("mean", ops.SPACE), (b.input,), (1, 1, 1, 1), out))
    x = np.full((1, 64, 16, 1), -125, np.int8)
    x.reshape(-1)[:126] = -128
    shown = PiEngine(Exposed(graph), PROCESSORS["pi4"], "litert").outputs(x)
    assert (shown[graph.output].item(), run(graph, x, rounding="single").item()) == (-105, -104)
