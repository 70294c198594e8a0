"""Qualcomm's Hexagon, simulated: no op is left to the CPU, each is within its named exception, crashes are named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import OP_KINDS, Builder, one_op, random_input, small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.targets import hexagon
from tinyscene.export.targets.hexagon import HexagonEngine
from tinyscene.export.targets.table import Exposed
from tinyscene.export.targets.worker import LocalPython
from tinyscene.export.verify.op_comparison import compare
from tinyscene.export.verify.verify import verify
from tinyscene.runtime import ops
from tinyscene.runtime.install_hint import install_hint

REFUSED = {
    "dilated_depthwise": "left to the CPU: Conv 'Conv:",
    "squared_difference": "Failed to finalize QNN graph",
    "lstm": "ONNX has an LSTM of real numbers only",
}
QUICK = ("conv2d", "add", "mul", "mean", "rsqrt", "fully_connected", "pool2d", "lookup", "transpose_conv2d", "prelu")
# By kind, the random net that Hexagon runs: it has no tensors of six axes.
SEEDS = dict.fromkeys(("reduce", "softmax", "transpose", "pad", "slice", "parts", "broadcast", "extremum"), 4)


@pytest.mark.needs_module("onnxruntime_qnn")
@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
def test_a_small_net_compiles_whole_and_is_within_the_exceptions(grn: bool) -> None:
    graph = small_net(np.random.default_rng(3), grn=grn)
    x = random_input(np.random.default_rng(4), graph, 4)
    engine = HexagonEngine(Exposed(graph))
    result = compare(engine.name, engine.rounding, graph, x, engine.outputs(x))
    assert result.first_difference is None
    assert result.max_lsb == 1
    (note,) = engine.notes
    assert "every op on Hexagon v73, compiled to " in note


@pytest.mark.needs_module("onnxruntime_qnn")
@pytest.mark.parametrize("kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in OP_KINDS])
def test_every_op_is_within_its_exception_or_refused_for_hexagon_alone(kind: str) -> None:
    graph = one_op(np.random.default_rng(SEEDS.get(kind, 1)), kind)
    (result,) = verify(graph, random_input(np.random.default_rng(2), graph, 2), targets=("hexagon",)).results
    if kind in REFUSED:
        assert (result.status, REFUSED[kind] in result.note) == ("refused", True), result.note
    else:
        assert result.status in ("equal", "named exception"), result.note


def _transposed(b: Builder, x: str) -> str:
    return b.convolution(x, ops.TransposeConv2D((3, 1), (19, 8)), (2, 1), 5)


@pytest.mark.needs_module("onnxruntime_qnn")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda b, x: b.softmax(b.reshape(x, (1, 192)), 2.0), "softmax: a tensor has one scale there"),
        (lambda b, x: b.reduce(x, "sum", (2,)), "sum: a tensor has one scale there"),
        (lambda b, x: b.reduce(b.reshape(x, (1, 192, 1)), "max", (1, 2)), "max: it returns the lowest code"),
        (lambda b, x: b.log_softmax(b.reshape(x, (1, 192, 1))), "log_softmax: a row of one element"),
        (lambda b, x: b.moved(ops.Pad((0, 0, 0, 0), (0, 1, 2, 0), 100), x), "pad: it fills the last axis with code 0"),
        (_transposed, "transpose_conv2d: its output has rows or columns behind the last window"),
    ],
)
def test_an_op_of_which_hexagon_returns_other_codes_is_refused(make: Callable[[Builder, str], str], words: str) -> None:
    b = Builder(np.random.default_rng(5), "alone", (6, 8, 4))
    graph = b.graph(make(b, b.input))
    x = random_input(np.random.default_rng(6), graph, 2)
    (result,) = verify(graph, x, targets=("hexagon",)).results
    assert (result.status, words in result.note) == ("refused", True), result.note


@pytest.mark.slow
@pytest.mark.needs_module("onnxruntime_qnn")
def test_the_refused_codes_are_still_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that computes them may run them."""
    monkeypatch.setattr(hexagon, "require_computed", lambda graph: None)
    b = Builder(np.random.default_rng(5), "alone", (6, 8, 4))
    graph = b.graph(b.reduce(b.input, "sum", (2,)))
    (result,) = verify(graph, random_input(np.random.default_rng(6), graph, 2), targets=("hexagon",)).results
    assert result.status == "different"


@pytest.mark.needs_module("onnxruntime_qnn")
def test_an_op_for_the_cpu_is_refused_by_name() -> None:
    import onnx

    graph = small_net(np.random.default_rng(3), grn=False)

    class WithRound(Exposed):
        """The file with an op at its end that Hexagon does not support."""

        def file(self, name: str) -> bytes:
            model = onnx.load_from_string(super().file(name))
            (output,) = [o for o in model.graph.output if o.name == graph.output]
            model.graph.node.append(onnx.helper.make_node("Erf", [output.name], ["odd"], name="Odd"))
            output.name = "odd"
            return bytes(model.SerializeToString())

    with pytest.raises(ExportError, match=r"left to the CPU: .*Erf 'Odd'"):
        HexagonEngine(WithRound(graph)).outputs(random_input(np.random.default_rng(4), graph))


def test_without_the_package_the_install_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hexagon.importlib.util, "find_spec", lambda _: None)
    graph = small_net(np.random.default_rng(3), grn=False)
    (result,) = verify(graph, random_input(np.random.default_rng(4), graph), targets=("hexagon",)).results
    assert result.status == "skipped"
    assert install_hint("npu") in result.note


def test_a_crash_of_the_library_is_a_failure_with_its_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho compiling >&2\nkill -s ABRT $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(hexagon, "WORKER", replace(hexagon.WORKER, interpreter=LocalPython(python)))
    monkeypatch.setattr(hexagon.importlib.util, "find_spec", lambda _: sys)
    graph = small_net(np.random.default_rng(3), grn=False)
    (result,) = verify(graph, random_input(np.random.default_rng(4), graph), targets=("hexagon",)).results
    assert result.status == "failed"
    assert "died with SIGABRT; got last output: compiling" in result.note
