"""Targets run side by side: the results keep their order, and shared values are computed once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.graphs import random_input, small_net
from tinyscene.export.labelled.codes import LabelledCodes
from tinyscene.export.labelled.once import Once
from tinyscene.export.verify import verify as module
from tinyscene.export.verify.verify import verify
from tinyscene.firmware_harness.build.image import build
from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.firmware_harness.emit.model import emit

THREADS = 4


def test_a_value_is_computed_once_for_all_threads() -> None:
    values: Once[str, int] = Once({"known": 7})
    together, computed = threading.Barrier(THREADS), []

    def ask(_: int) -> int:
        together.wait()
        return values.get("new", lambda: computed.append(1) or 5)

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(ask, range(THREADS))) == [5] * THREADS
    assert computed == [1]
    assert values.get("known", lambda: 0) == 7
    assert values.ready() == {"known": 7, "new": 5}


def test_a_failed_computation_is_raised_and_repeated() -> None:
    values: Once[str, int] = Once()
    with pytest.raises(ZeroDivisionError):
        values.get("a", lambda: 1 // 0)
    assert values.ready() == {}
    assert values.get("a", lambda: 3) == 3


@pytest.mark.needs_tool("gcc")
def test_threads_that_build_the_same_image_get_one(tmp_path) -> None:
    emitted = emit(small_net(np.random.default_rng(3), grn=False))

    def image(_: int) -> bytes:
        return build(emitted, HOST, "double", folder=tmp_path).path.read_bytes()

    with ThreadPoolExecutor(THREADS) as pool:
        assert len(set(pool.map(image, range(THREADS)))) == 1
    assert not [path for path in tmp_path.rglob("*") if path.suffix.removeprefix(".").isdigit()]


@pytest.mark.needs_tool("gcc")
@pytest.mark.needs_module("ai_edge_litert", "onnxruntime")
def test_results_are_those_of_one_target_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = small_net(np.random.default_rng(3), grn=True)
    rng = np.random.default_rng(5)
    codes, labels = random_input(rng, graph, 12), rng.integers(0, 10, 12)
    targets = ("c-host", "c-host-single", "numpy-double", "numpy-single", "ort", "litert")
    results = {}
    for cores in (1, THREADS):
        monkeypatch.setattr(module, "usable_cores", lambda cores=cores: cores)
        labelled = LabelledCodes(codes, labels, labels, np.array(["a"] * 12), "random")
        began: list[str] = []
        verification = verify(graph, codes[:2], targets=targets, labelled=labelled, on_target=began.append)
        assert sorted(began) == sorted(targets)
        results[cores] = [(r.target, r.status, r.comparison, r.predictions, r.cost) for r in verification.results]
    assert [row[0] for row in results[THREADS]] == list(targets)
    assert results[1] == results[THREADS]
