"""Pools with any padding, also that of PyTorch's ceil mode, in every format that has it; TFLite lacks some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.graphs import Builder, random_input
from tests.random_nodes import random_pads
from tinyscene import command_line
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.verify.verify import verify
from tinyscene.runtime.engines import LiteRTEngine, TFLMEngine
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite

KERNEL, STRIDE = (3, 4), (2, 3)


def pooled(kind: str, pads: tuple[int, int, int, int], zero_point: int = 7) -> Graph:
    b = Builder(np.random.default_rng(0), kind, (9, 10, 3), Quant.per_tensor(0.05, zero_point))
    return b.graph(b.pool(b.input, kind, KERNEL, stride=STRIDE, pads=pads))


@pytest.mark.needs_module("ai_edge_litert", "tflite_micro")
@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_a_maximum_with_any_pads_runs_on_every_tflite_engine(zero_point: int) -> None:
    """Its padding is written as a PAD where 0 is the lowest code, as a PADV2 with the lowest code elsewhere."""
    for seed in range(6):
        graph = pooled("max", random_pads(np.random.default_rng(seed), KERNEL), zero_point)
        x, data = random_input(np.random.default_rng(seed), graph, 2), to_tflite(graph)
        for engine in (LiteRTEngine(graph, data), LiteRTEngine(graph, data, "reference"), TFLMEngine(graph, data)):
            assert np.array_equal(engine.output_codes(x), run(graph, x)), (engine.name, seed)


@pytest.mark.needs_module("ai_edge_litert", "tflite_micro", "onnxruntime")
@pytest.mark.needs_tool("gcc")
def test_an_average_with_pads_that_tflite_lacks_is_refused_for_its_engines_alone() -> None:
    graph = pooled("average", (2, 0, 1, 3))
    targets = ("litert", "litert-reference", "tflm", "ort", "numpy-double", "c-host", "c-host-single", "pytorch")
    x = random_input(np.random.default_rng(1), graph, 4)
    results = {result.target: result for result in verify(graph, x, targets=targets).results}
    assert {name for name, result in results.items() if result.status == "refused"} == set(targets[:3])
    assert all("TFLite has no such padding for a pool" in results[name].note for name in targets[:3])
    assert all(results[name].status in ("equal", "named exception") for name in targets[3:])


@pytest.mark.needs_module("onnxruntime")
def test_verify_of_a_file_that_tflite_has_no_form_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It was refused as a whole, because its TFLite form was made for NPUs that nobody had named."""
    path = tmp_path / "pool.onnx"
    path.write_bytes(to_onnx(pooled("average", (2, 0, 1, 3))))
    assert command_line.main(["verify", str(path), "--targets", "numpy-double,ort", "--quiet"]) == 0
    assert command_line.main(["verify", str(path), "--targets", "ethos-u55-128", "--quiet"]) == 0
    printed = capfd.readouterr().out
    assert "ethos-u55-128: skipped: " in printed
    assert "TFLite has no such padding for a pool" in printed


@pytest.mark.parametrize("size", [(9, 10), (8, 13), (11, 7)])
def test_windows_of_pytorchs_ceil_mode_are_further_pads(size: tuple[int, int]) -> None:
    """Its last window begins inside the input or the padding before it; elements beyond are not counted."""
    window = {"kernel_size": KERNEL, "stride": STRIDE, "padding": (1, 2), "ceil_mode": True}
    x = np.random.default_rng(2).integers(-128, 128, (1, *size, 3)).astype(np.int8)
    nchw = torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2)
    largest = F.max_pool2d(nchw, **window).permute(0, 2, 3, 1).numpy()
    after = [
        (n - 1) * s + k - h - p for n, s, k, h, p in zip(largest.shape[1:3], STRIDE, KERNEL, size, (1, 2), strict=True)
    ]
    pads = (1, 2, max(after[0], 0), max(after[1], 0))
    for kind in ("max", "average"):
        b = Builder(np.random.default_rng(0), kind, (*size, 3))
        codes = run(b.graph(b.pool(b.input, kind, KERNEL, stride=STRIDE, pads=pads)), x)
        expected = largest
        if kind == "average":
            real = F.avg_pool2d(nchw, **window, count_include_pad=False).permute(0, 2, 3, 1).numpy()
            expected = np.sign(real) * np.floor(np.abs(real) + 0.5)
        assert np.array_equal(codes, expected), kind
