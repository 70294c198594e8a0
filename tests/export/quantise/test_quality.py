"""The graph in float arithmetic against the integers, and the ranking of what its roundings cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tinyscene import command_line
from tinyscene.export.errors import ExportError
from tinyscene.export.quantise.quality import BINS, Ranking, layer_quality, rank_layers
from tinyscene.export.quantise.quantised_model import network_input
from tinyscene.export.quantise.simulate import PytorchEngine, simulate
from tinyscene.export.targets.table import TARGETS, Exposed, TargetRow
from tinyscene.export.verify.op_comparison import compare
from tinyscene.runtime import ops
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.graph import Graph, Quant


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "grn"])
def graph(request: pytest.FixtureRequest) -> Graph:
    return small_net(np.random.default_rng(8), grn=request.param)


@pytest.fixture(scope="module")
def log_mels(graph: Graph) -> np.ndarray:
    source = graph.tensors[graph.input]
    codes = np.random.default_rng(0).integers(-128, 128, (12, *source.shape[1:3])).astype(np.int8)
    return dequantise(codes, source.quant)


@pytest.mark.parametrize("target", ["pytorch", "ort-int8"])
@pytest.mark.parametrize("kind", OP_KINDS)
def test_every_op_is_the_kernel_s_but_for_its_named_exception(kind: str, target: str) -> None:
    for seed in range(4):
        graph = one_op(np.random.default_rng(seed), kind)
        x = random_input(np.random.default_rng(seed + 100), graph, 2)
        row = TARGETS[target]
        assert isinstance(row, TargetRow)
        if (kind, target) == ("lstm", "ort-int8"):
            with pytest.raises(ExportError, match="ONNX has an LSTM of real numbers only"):
                row.open(Exposed(graph))
            continue
        engine = row.open(Exposed(graph))
        assert compare(engine.name, engine.rounding, graph, x, engine.outputs(x)).first_difference is None


def test_rounded_everywhere_it_is_the_integer_graph_but_for_ties(graph: Graph, log_mels: np.ndarray) -> None:
    x = network_input(graph, log_mels)
    engine = PytorchEngine(graph)
    result = compare(engine.name, engine.rounding, graph, x, engine.outputs(x))
    assert result.first_difference is None
    assert result.bytes_different < 1e-4 * result.bytes_compared
    assert np.array_equal(engine.output_codes(x), engine.outputs(x)[graph.output])


def test_histograms_count_every_code(graph: Graph, log_mels: np.ndarray) -> None:
    names = [t.name for t in graph.activations()]
    x = network_input(graph, log_mels)
    rows = layer_quality(graph, x, simulate(graph, log_mels, names, shown=names))
    for row in rows:
        assert len(row.histogram) == BINS
        assert sum(row.histogram) == pytest.approx(1.0)
    assert rows[0].histogram[0] == pytest.approx(np.mean(x < -128 + 256 // BINS))
    assert rows[0].histogram[-1] == pytest.approx(np.mean(x >= 128 - 256 // BINS))


def _share(ranking: Ranking, name: str) -> float:
    return next(cost.error_share for cost in ranking.rows if cost.quality.name == name)


def test_an_activation_that_is_cut_costs_more(graph: Graph, log_mels: np.ndarray) -> None:
    """One activation gets an eighth of its range."""
    node = next(n for n in reversed(graph.nodes) if isinstance(n.op, ops.Conv2D))  # the head
    tensor = graph.tensors[node.output]
    cut = replace(tensor, quant=Quant.per_tensor(tensor.quant.scale[0] / 8, tensor.quant.zero_point))
    spoilt = replace(graph, tensors={**graph.tensors, tensor.name: cut})
    ranking, before = rank_layers(spoilt, log_mels), rank_layers(graph, log_mels)
    assert ranking.scores_sqnr_db < before.scores_sqnr_db
    assert _share(ranking, tensor.name) > _share(before, tensor.name) + 0.2
    assert any(f"'{tensor.name}'" in words and "are clipped" in words for words in ranking.advice())
    assert ranking.clips == len(log_mels)


def test_the_command_ranks_and_advises(tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * 32_000)
    soundfile.write(tmp_path / "noise.wav", noise, 32_000)
    words = ["quality", str(tiny_bundle.path), "--recordings", str(tmp_path), "--clips", "4"]
    assert command_line.main([*words, "--rows", "5"]) == 0
    shown = capsys.readouterr().out
    assert "SQNR dB" in shown
    assert "--qat" in shown
    assert command_line.main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["clips"] == 4
    assert len(record["rows"]) == len(list(tiny_bundle.graph.activations()))
    shares = [row["error_share"] for row in record["rows"]]
    assert shares == sorted(shares, reverse=True)
