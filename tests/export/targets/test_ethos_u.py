"""Ethos-U through Vela: both CP-Mobile variants run on the NPU entirely; an op left to the CPU has a reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import Net
from tests.graphs import Builder, small_net
from tinyscene import command_line
from tinyscene.export.commands import npu as npu_command
from tinyscene.export.errors import ExportError
from tinyscene.export.targets import ethos_u as npu_module
from tinyscene.export.targets.ethos_u import NPUS, estimate, npu_named
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.install_hint import install_hint
from tinyscene.runtime.tflite_write import to_tflite

pytestmark = pytest.mark.needs_module("ethosu")


@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
@pytest.mark.parametrize("name", NPUS)
def test_a_small_net_runs_on_the_npu_entirely(name: str, grn: bool) -> None:
    graph = small_net(np.random.default_rng(0), grn=grn)
    estimated = estimate(to_tflite(graph), NPUS[name])
    assert (estimated.npu_share, estimated.ops_on_cpu, estimated.refused) == (1.0, 0, ())
    assert estimated.cycles > 1000
    assert estimated.milliseconds > 0
    assert estimated.sram_bytes > max(t.n_bytes for t in graph.activations())
    assert estimated.flash_bytes > 1000


@pytest.fixture
def strided(tmp_path: Path) -> Path:
    """A file with one convolution whose stride no Ethos-U55 supports."""
    b = Builder(np.random.default_rng(0), "strided", (200, 200, 2))
    path = tmp_path / "strided.tflite"
    path.write_bytes(to_tflite(b.graph(b.mean(b.conv(b.input, (66, 70), stride=(5, 7))))))
    return path


def test_an_op_left_to_the_cpu_is_named_with_its_reason(strided: Path) -> None:
    estimated = estimate(strided.read_bytes(), NPUS["ethos-u55-128"])
    assert estimated.ops_on_cpu == 1
    assert 0 < estimated.npu_share < 1
    (refused,) = estimated.refused
    assert refused.startswith("DEPTHWISE_CONV_2D 'depthwiseconv2d_0_out': Unsupported kernel stride: 7, 5")


def test_the_command_fails_below_the_minimum_share(strided: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["npu", str(strided), "--targets", "ethos-u55-128"]
    assert command_line.main(words) == 0
    assert "stride" in capsys.readouterr().out
    assert command_line.main([*words, "--min-npu-share", "100"]) == 1


def test_a_bundle_as_json(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["npu", str(tiny_bundle.path), "--min-npu-share", "100", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [r["npu"] for r in records] == list(NPUS)
    assert all(r["npu_share"] == 1.0 for r in records)


def test_an_unreadable_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model at all")
    for path, words in ((broken, "not a readable TFLite file"), (tmp_path / "none.tflite", "no such file")):
        assert command_line.main(["npu", str(path), "--targets", "ethos-u55-128"]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert words in lines[0]
    with pytest.raises(ExportError, match=r"ethos-u55-128 \|"):
        npu_named("ethos-u99")


def test_without_vela_the_install_command_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(npu_module.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(npu_module.shutil, "which", lambda _: None)
    with pytest.raises(ExportError) as caught:
        npu_module.vela_path()
    assert caught.value.next_step == install_hint("npu")


def test_a_network_with_an_operator_outside_the_graph_reaches_vela_unchanged(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0), (6, 6, 2))
    x = net.conv(net.input, 4)
    options = schema.LeakyReluOptionsT()
    options.alpha = 0.3
    out = net.apply(schema.BuiltinOperator.LEAKY_RELU, [x.index], net.out((1, 6, 6, 4)), options)
    path = tmp_path / "leaky.tflite"
    path.write_bytes(net.finish(out))
    assert npu_command._tflite_content(path) == path.read_bytes()
