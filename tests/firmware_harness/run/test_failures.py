"""Planted faults: each is detected and named, and no process is left behind."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.firmware_harness.machines import on_each
from tests.graphs import random_input, small_net
from tinyscene.firmware_harness.build.image import build
from tinyscene.firmware_harness.build.targets import CORTEX_M4, HOST
from tinyscene.firmware_harness.emit.model import Emitted, emit
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run import engine as engine_module
from tinyscene.firmware_harness.run.differences import Difference, differences
from tinyscene.firmware_harness.run.emulate import run_image
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run

everywhere = on_each([HOST, CORTEX_M4])


@pytest.fixture
def graph() -> Graph:
    return small_net(np.random.default_rng(31), grn=False)


def _planted(monkeypatch: pytest.MonkeyPatch, pattern: str, into: str, *, where: str = "model_c") -> None:
    """Make the engine emit for the portable kernels with the first match of ``pattern`` replaced."""

    def emit_changed(graph: Graph, *options: Any) -> Emitted:
        emitted = emit(graph)
        text, count = re.subn(pattern, into, getattr(emitted, where), count=1, flags=re.DOTALL)
        assert count == 1
        return replace(emitted, **{where: text})

    monkeypatch.setattr(engine_module, "emit", emit_changed)


@everywhere
@pytest.mark.parametrize("layer", [0, 3, 4])
def test_one_changed_weight_is_traced_to_its_layer(target, layer: int, graph: Graph, monkeypatch) -> None:
    weight = graph.ins(graph.nodes[layer])[1].data
    assert weight is not None
    first = int(weight.flat[0])
    changed = first - 64 if first > 0 else first + 64
    _planted(monkeypatch, rf"(layer_{layer}_weight = {{\s+){first},", rf"\g<1>{changed},")
    codes = random_input(np.random.default_rng(0), graph)
    expected: dict = {}
    run(graph, codes, trace=expected)
    got = FirmwareEngine(graph, target).outputs(codes)
    differing = differences(graph, {n: a[0] for n, a in expected.items()}, {n: a[0] for n, a in got.items()})
    node = graph.nodes[layer]
    assert (differing[0].layer, differing[0].name) == (layer, node.name)
    wrong = expected[node.output][0] != got[node.output][0]
    assert differing[0].n_different == wrong.sum() > 0
    at = differing[0].element
    assert wrong[at]
    assert not wrong.reshape(-1)[: int(np.ravel_multi_index(at, wrong.shape))].any()
    assert (differing[0].expected, differing[0].got) == (expected[node.output][0][at], got[node.output][0][at])


def test_a_difference_is_printed_as_one_line() -> None:
    line = str(Difference(4, "b1_expand", (0, 2, 7), -3, 5, 12, 3400))
    assert line == "layer 4 b1_expand, element (0, 2, 7): expected -3, got 5; 12 of 3,400 elements differ"


def test_missing_values_are_refused(graph: Graph) -> None:
    arrays = {t.name: np.zeros(t.shape[1:], np.int8) for t in graph.activations()}
    less = {name: array for name, array in arrays.items() if name != graph.nodes[5].output}
    assert differences(graph, arrays, less) == ()  # a fused call gives the last layer only
    with pytest.raises(FirmwareError, match=r"output of the firmware: missing or of another shape"):
        differences(graph, arrays, {name: array for name, array in arrays.items() if name != graph.output})
    with pytest.raises(FirmwareError, match=r"layer 5 add_5, expected values: missing or of another shape"):
        differences(graph, less, arrays)


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize(
    "pattern", [r"(layer_1_weight = {\s+-?)\d+", r"(\.in_zero_point = -?)\d+"], ids=["weight", "record"]
)
def test_damaged_constants_are_refused_before_the_first_inference(pattern: str, graph: Graph) -> None:
    emitted = emit(graph)
    damaged, count = re.subn(pattern, r"\g<1>77", emitted.model_c, count=1)
    assert count == 1
    image = build(replace(emitted, model_c=damaged), CORTEX_M4, "double", program="measure")
    with pytest.raises(FirmwareError, match="the constants are not those that were emitted"):
        run_image(image, bytes(graph.tensors[graph.input].n_bytes), 60.0)


@pytest.mark.needs_tool("gcc")
def test_an_overflow_is_reported_by_the_sanitizer(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(monkeypatch, r"in_zero_point = -?\d+", "in_zero_point = -2147483647")
    codes = random_input(np.random.default_rng(0), graph, 4)
    with pytest.raises(
        FirmwareError, match=r"host: the run ended with code \d+: .*ts_reduce.c.*signed integer overflow"
    ):
        FirmwareEngine(graph, HOST).outputs(codes)


@everywhere
def test_a_write_beyond_the_arena_is_detected(target, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted = emit(graph)
    last = max(graph.activations(), key=lambda t: emitted.plan.offsets[t.name] + t.n_bytes)
    end = emitted.plan.offsets[last.name] + last.n_bytes
    _planted(monkeypatch, r"ARENA_BYTES \d+", f"ARENA_BYTES {(end - 1) // 16 * 16}", where="model_h")
    what = "use-after-poison|buffer-overflow" if target is HOST else "a layer wrote outside the arena"
    with pytest.raises(FirmwareError, match=what):
        FirmwareEngine(graph, target).outputs(random_input(np.random.default_rng(0), graph))


@pytest.mark.needs_tool("gcc")
def test_a_read_beyond_the_input_is_detected(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(monkeypatch, r"\.in_height = 20(.*?)\.pad_top = 1", r".in_height = 21\1.pad_top = 0")
    codes = random_input(np.random.default_rng(0), graph)
    with pytest.raises(FirmwareError, match="global-buffer-overflow"):
        FirmwareEngine(graph, HOST).outputs(codes)


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_a_processor_fault_is_reported_with_its_address(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(monkeypatch, r"\.weight = TS_TO\(layer_0_weight, layer_0\)", ".weight = 0x60000000")
    with pytest.raises(
        FirmwareError, match=r"the processor raised a fault: status 0x[0-9a-f]+, lr 0x.*, pc 0x[0-9a-f]+"
    ):
        FirmwareEngine(graph, CORTEX_M4).outputs(random_input(np.random.default_rng(0), graph))


@everywhere
def test_an_endless_run_is_stopped(target, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(monkeypatch, r"    ts_conv2d\(", "    for (volatile int i = 0; i < 1;) {\n    }\n    ts_conv2d(")
    engine = FirmwareEngine(graph, target, timeout_seconds=1.5)
    with pytest.raises(FirmwareError, match=r"stopped after 1.5 s"):
        engine.outputs(random_input(np.random.default_rng(0), graph))
    image = str(engine._verify.path)
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if image in _command_line(p)]


def _command_line(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:  # ended meanwhile
        return ""
