"""tflite-runtime and TensorFlow, each in a process of its own, compared with the graph op by op."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder, random_input, small_net
from tests.random_nodes import random_lstm
from tinyscene.export.errors import ExportError
from tinyscene.export.targets import environments
from tinyscene.export.targets.other_tflite import Kernels, Module, OtherTfliteEngine
from tinyscene.export.targets.table import Exposed
from tinyscene.export.verify.op_comparison import Comparison, compare
from tinyscene.export.verify.verify import verify


def _compared(module: Module, kernels: Kernels, *, grn: bool) -> Comparison:
    graph = small_net(np.random.default_rng(3), grn=grn)
    x = random_input(np.random.default_rng(4), graph, 4)
    engine = OtherTfliteEngine(graph, Exposed(graph).file("model.tflite"), module, kernels)
    return compare(engine.name, engine.rounding, graph, x, engine.outputs(x))


@pytest.mark.foreign("tflite_runtime")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda b, x: b.reduce(x, "sum", (2,)), ("named exception", "returns wrong codes")),
        (lambda b, x: b.lookup(x, "elu"), ("equal", "Didn't find op for builtin opcode 'ELU'")),
        (lambda b, x: b.l2_norm(b.reshape(x, (1, 2, 3, 8, 4))), ("beyond the engine's limit of dimensions",) * 2),
        (lambda b, x: random_lstm(b.rng, b, x), ("named exception",) * 2),
    ],
)
def test_what_tflite_runtime_has_no_kernel_of_is_refused_by_it_alone(
    make: Callable[[Builder, str], str], words: tuple[str, str]
) -> None:
    b = Builder(np.random.default_rng(1), "alone", (6, 8, 4))
    graph = b.graph(make(b, b.input))
    x = random_input(np.random.default_rng(2), graph, 4)
    results = verify(graph, x, targets=("tflite-runtime", "tflite-runtime-reference")).results
    for word, result in zip(words, results, strict=True):
        assert word == result.status or (result.status == "refused" and word in result.note), result


@pytest.mark.foreign("tflite_runtime")
@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
def test_tflite_runtime(grn: bool) -> None:
    exact = _compared("tflite_runtime", "reference", grn=grn)
    assert (exact.bytes_different, exact.first_difference) == (0, None)
    optimised = _compared("tflite_runtime", "default", grn=grn)
    assert optimised.first_difference is None
    assert optimised.max_lsb == 1
    assert optimised.exceptions


@pytest.mark.foreign("tensorflow")
@pytest.mark.parametrize("kernels", ["default", "reference"])
@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
def test_tensorflow(grn: bool, kernels: Kernels) -> None:
    result = _compared("tensorflow", kernels, grn=grn)
    assert result.first_difference is None
    assert result.bytes_different <= (2 if kernels == "default" else 0)  # means at near-ties


def test_what_is_missing_is_a_named_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path))
    monkeypatch.setattr(environments.importlib.util, "find_spec", lambda _: None)
    missing = {**environments.PACKAGES, "tflite_runtime": ("no-such-package-anywhere==0",)}
    monkeypatch.setattr(environments, "PACKAGES", missing)
    graph = small_net(np.random.default_rng(3), grn=False)
    x = random_input(np.random.default_rng(4), graph)
    results = verify(graph, x, targets=("tensorflow", "tflite-runtime")).results
    assert [r.status for r in results] == ["skipped", "skipped"]
    assert "python -m tinyscene.export.targets.environments tensorflow" in results[0].note
    assert "no-such-package-anywhere==0" in results[1].note
    assert not list(tmp_path.glob("*/complete"))


@pytest.mark.foreign("tflite_runtime")
def test_a_failed_worker_gives_the_reason() -> None:
    graph = small_net(np.random.default_rng(3), grn=False)
    engine = OtherTfliteEngine(graph, Exposed(graph).file("model.tflite"), "tflite_runtime", "default")
    with pytest.raises(ExportError, match="tflite-runtime: failed"):
        engine.outputs(random_input(np.random.default_rng(4), graph)[:, :2])
