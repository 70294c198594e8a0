"""Planted faults: each is noticed, named, and leaves no process behind."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_harness import engine as engine_module
from firmware_harness.build import Image, run_tool
from firmware_harness.compare import Difference, differences
from firmware_harness.emit import KERNEL_FOLDER, Emitted, emit
from firmware_harness.emulate import run_image
from firmware_harness.engine import FirmwareEngine, HostC, QemuM4
from firmware_harness.errors import FirmwareError
from firmware_harness.targets import C_FLAGS, CORTEX_M4, HOST, PORT_FOLDER
from runtime.graph import Graph
from runtime.interpreter import run
from tests.graphs import random_input, small_net

HERE = Path(__file__).resolve().parent
on_host = pytest.param(HOST, id="host", marks=pytest.mark.needs_tool("gcc"))
on_m4 = pytest.param(CORTEX_M4, id="cortex-m4", marks=pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm"))
everywhere = pytest.mark.parametrize("target", [on_host, on_m4])


@pytest.fixture
def graph() -> Graph:
    return small_net(np.random.default_rng(31), grn=False)


def _planted(monkeypatch: pytest.MonkeyPatch, pattern: str, into: str, *, where: str = "model_c") -> None:
    """Let the engine emit what `emit` emits, with the first match of ``pattern`` changed."""

    def emit_changed(graph: Graph) -> Emitted:
        emitted = emit(graph)
        text, count = re.subn(pattern, into, getattr(emitted, where), count=1, flags=re.DOTALL)
        assert count == 1
        return replace(emitted, **{where: text})

    monkeypatch.setattr(engine_module, "emit", emit_changed)


@everywhere
@pytest.mark.parametrize("layer", [0, 3, 9])
def test_one_changed_weight_is_traced_to_its_layer(target, layer: int, graph: Graph, monkeypatch) -> None:
    weight = graph.ins(graph.nodes[layer])[1].data
    assert weight is not None
    first = int(weight.flat[0])
    changed = first - 64 if first > 0 else first + 64
    _planted(monkeypatch, rf"(layer_{layer}_weight\[\d+\] = {{\s+){first},", rf"\g<1>{changed},")
    codes = random_input(np.random.default_rng(0), graph)
    expected: dict = {}
    run(graph, codes, trace=expected)
    got = FirmwareEngine(graph, target).outputs(codes)
    found = differences(graph, {n: a[0] for n, a in expected.items()}, {n: a[0] for n, a in got.items()})
    node = graph.nodes[layer]
    assert (found[0].layer, found[0].name) == (layer, node.name)
    wrong = expected[node.output][0] != got[node.output][0]
    assert found[0].n_different == wrong.sum() > 0
    at = found[0].element
    assert wrong[at]
    assert not wrong.reshape(-1)[: int(np.ravel_multi_index(at, wrong.shape))].any()
    assert (found[0].expected, found[0].got) == (expected[node.output][0][at], got[node.output][0][at])


def test_a_difference_reads_as_one_line() -> None:
    line = str(Difference(4, "b1_expand", (0, 2, 7), -3, 5, 12, 3400))
    assert line == "layer 4 b1_expand, element (0, 2, 7): expected -3, got 5; 12 of 3,400 elements differ"


def test_missing_values_are_no_match(graph: Graph) -> None:
    arrays = {t.name: np.zeros(t.shape[1:], np.int8) for t in graph.activations()}
    less = {name: array for name, array in arrays.items() if name != graph.nodes[5].output}
    with pytest.raises(FirmwareError, match=r"layer 5 add_5, output of the firmware: not there"):
        differences(graph, arrays, less)
    with pytest.raises(FirmwareError, match=r"layer 5 add_5, expected values: not there"):
        differences(graph, less, arrays)


@pytest.mark.needs_tool("gcc")
def test_an_overflow_is_reported_by_the_sanitizer(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(monkeypatch, r"(layer_2_bias\[\d+\] = {\s+)-?\d+,", r"\g<1>2147483647,")
    codes = random_input(np.random.default_rng(0), graph, 4)
    with pytest.raises(
        FirmwareError, match=r"host: the run ended with code \d+: .*ts_inner.h.*signed integer overflow"
    ):
        HostC(graph).outputs(codes)


@everywhere
def test_a_write_beyond_the_arena_is_noticed(target, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted = emit(graph)
    last = max(graph.activations(), key=lambda t: emitted.plan.offsets[t.name] + t.n_bytes)
    end = emitted.plan.offsets[last.name] + last.n_bytes
    _planted(monkeypatch, r"ARENA_BYTES \d+", f"ARENA_BYTES {(end - 1) // 16 * 16}", where="model_h")
    what = "use-after-poison|buffer-overflow" if target is HOST else "a layer wrote outside the arena"
    with pytest.raises(FirmwareError, match=what):
        FirmwareEngine(graph, target).outputs(random_input(np.random.default_rng(0), graph))


@pytest.mark.needs_tool("gcc")
def test_a_read_beyond_the_input_is_noticed(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(monkeypatch, r"\.in_height = 20(.*?)\.pad_top = 1", r".in_height = 21\1.pad_top = 0")
    codes = random_input(np.random.default_rng(0), graph)
    with pytest.raises(FirmwareError, match="global-buffer-overflow"):
        HostC(graph).outputs(codes)


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_a_processor_fault_is_reported_with_its_address(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(monkeypatch, r"\.weight = layer_0_weight", ".weight = layer_0_weight + 0x60000000")
    with pytest.raises(FirmwareError, match=r"the processor took a fault: status 0x[0-9a-f]+, lr 0x.*, pc 0x[0-9a-f]+"):
        QemuM4(graph).outputs(random_input(np.random.default_rng(0), graph))


@everywhere
def test_an_endless_run_is_stopped(target, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(
        monkeypatch, r"    ts_conv2d\(&layer_0", "    for (volatile int i = 0; i < 1;) {\n    }\n    ts_conv2d(&layer_0"
    )
    engine = FirmwareEngine(graph, target, timeout_seconds=1.5)
    with pytest.raises(FirmwareError, match=r"not finished after 1.5 s, stopped"):
        engine.outputs(random_input(np.random.default_rng(0), graph))
    image = str(engine._verify.path)
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if image in _command_line(p)]


def _command_line(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:  # ended meanwhile
        return ""


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_the_counter_counts_exactly_and_the_stack_is_seen(tmp_path: Path) -> None:
    """A loop of two instructions a turn, 800 million in all, which is more than SysTick holds."""
    target = CORTEX_M4
    path = tmp_path / "counter.elf"
    sources = [HERE / "counter_check.c", *target.port_folder.glob("*.c")]
    includes = [f"-I{folder}" for folder in (KERNEL_FOLDER, PORT_FOLDER, target.port_folder)]
    linked = [f"-L{target.port_folder}", *target.link_flags, "-o", str(path)]
    run_tool([target.compiler, *C_FLAGS, *target.flags, *includes, *map(str, sources), *linked], target)
    printed = run_image(Image(path, target, "measure", "double"), b"", timeout_seconds=60.0).printed
    assert target.emulator is not None
    instructions = int(printed["clocks"]) * target.emulator.instructions_per_clock
    assert 800_000_000 <= instructions < 800_000_000 + 200
    assert printed["stack_bytes"] == "2000"
