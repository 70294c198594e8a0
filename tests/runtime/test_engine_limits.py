"""Each limit of an engine is real: beyond it the engine fails or is wrong, and the others are right."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import Builder, Rng, random_input
from tinyscene.export.verify.verify import verify
from tinyscene.runtime import engine_limits, ops
from tinyscene.runtime.engines import LiteRTEngine, NumpyEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.tflite_write import to_tflite

pytestmark = pytest.mark.needs_module("ai_edge_litert", "tflite_micro")


def _sum(rng: Rng) -> Graph:
    b = Builder(rng, "sum", (3, 4, 5))
    return b.graph(b.reduce(b.input, "sum", (1, 2)))


def test_an_engine_is_refused_by_name_and_the_others_run() -> None:
    rng = np.random.default_rng(0)
    graph = _sum(rng)
    wanted = r"^engine litert-reference, operator 0 \(SUM\) '.*': .* wrong codes .*; next: run the network on another"
    with pytest.raises(RuntimeFailure, match=wanted) as refusal:
        LiteRTEngine(graph, to_tflite(graph), "reference")
    assert refusal.value.unsupported
    targets = ("litert", "litert-reference", "tflm", "numpy-double")
    results = verify(graph, random_input(rng, graph, 4), targets=targets).results
    assert [result.status for result in results] == ["equal", "refused", "equal", "equal"]


def test_sums_of_the_reference_kernel_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_limits, "LIMITS", {})
    rng = np.random.default_rng(0)
    graph = _sum(rng)
    x = random_input(rng, graph, 4)
    engine = LiteRTEngine(graph, to_tflite(graph), "reference")
    off = np.abs(engine.output_codes(x).astype(int) - NumpyEngine(graph, "double").output_codes(x))
    assert off.max() > 50


def _products(rng: Rng) -> Graph:
    """Matrices along six axes."""
    b = Builder(rng, "products", (6, 4, 5))
    left = b.reshape(b.input, (1, 2, 1, 3, 4, 5))
    return b.graph(b.node(ops.BatchMatMul(adj_y=True), (left, left), (1, 2, 1, 3, 4, 4)))


def _long_rows(rng: Rng) -> Graph:
    b = Builder(rng, "rows", (1, 1, 600))
    return b.graph(b.softmax(b.input))


@pytest.mark.needs_module("onnxruntime")
@pytest.mark.parametrize(
    ("made", "refusing"),
    [(_products, {"litert", "litert-reference", "tflm"}), (_long_rows, {"litert-reference", "tflm"})],
)
def test_dimensions_and_rows_beyond_an_engine_are_refused_for_it_alone(made, refusing) -> None:
    rng = np.random.default_rng(0)
    graph = made(rng)
    targets = ("litert", "litert-reference", "tflm", "ort", "numpy-double", "numpy-single")
    results = {r.target: r.status for r in verify(graph, random_input(rng, graph, 2), targets=targets).results}
    assert results == {target: "refused" if target in refusing else "equal" for target in targets}
