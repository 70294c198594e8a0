"""Qualcomm's Hexagon, simulated: no op is left to the CPU, each is within its named exception, crashes are named."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.targets import hexagon
from tinyscene.export.targets.hexagon import HexagonEngine
from tinyscene.export.targets.table import Exposed
from tinyscene.export.targets.worker import LocalPython
from tinyscene.export.verify.op_comparison import compare
from tinyscene.export.verify.verify import verify
from tinyscene.runtime.install_hint import install_hint

# Kinds whose rounding on Hexagon has no named exception yet, or that its compiler refuses in some shapes.
UNMEASURED = (
    *("reduce", "batch_matmul", "softmax", "log_softmax", "prelu", "transpose", "pad", "slice", "parts", "resize"),
    *("dilated_depthwise", "transpose_conv2d", "lstm", "broadcast", "squared_difference", "extremum", "l2_norm"),
)


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
@pytest.mark.parametrize("kind", [kind for kind in OP_KINDS if kind not in UNMEASURED])
def test_every_op_of_the_graph_is_supported(kind: str) -> None:
    graph = one_op(np.random.default_rng(1), kind)
    x = random_input(np.random.default_rng(2), graph, 2)
    assert compare("hexagon", "single", graph, x, HexagonEngine(Exposed(graph)).outputs(x)).first_difference is None


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
