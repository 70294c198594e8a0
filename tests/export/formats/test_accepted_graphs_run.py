"""What is accepted also runs: stored graphs with random values are refused, or run, and are written in every format.

`python -m tests.export.formats.test_accepted_graphs_run 100000` draws that many graphs.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import random_input, small_net
from tests.mutated_graphs import accepted, mutated, small_graph, stored, strained
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.runtime import ops
from tinyscene.runtime.engines import LiteRTEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite


def outcome(seed: int) -> str:
    """``refused``, or ``ran`` without an exception or a warning; of odd seeds the graph is consistent and extreme."""
    rng = np.random.default_rng(seed)
    graph = small_graph(rng)
    record, arrays = stored(strained(graph, rng) if seed % 2 else graph)
    try:
        read = accepted(record if seed % 2 else mutated(record, rng), arrays)
    except RuntimeFailure:
        return "refused"
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        run_everywhere(read, rng)
    return "ran"


def run_everywhere(graph: Graph, rng: np.random.Generator) -> None:
    codes = random_input(rng, graph, 2)
    for rounding in ("double", "single"):
        assert run(graph, codes, rounding=rounding).shape == (2, *graph.tensors[graph.output].shape[1:])
    assert emit(graph).model_c
    try:
        assert to_tflite(graph)
    except RuntimeFailure as refused:
        if "TFLite has no such padding for a pool" not in str(refused):  # the only thing that TFLite lacks
            raise
    try:
        assert to_onnx(graph)
    except ExportError as refused:
        if "ONNX has an LSTM of real numbers only" not in str(refused):  # the only thing that ONNX lacks
            raise


@pytest.mark.parametrize("begin", range(0, 60, 20))
def test_what_is_accepted_also_runs(begin: int) -> None:
    outcomes = [outcome(seed) for seed in range(begin, begin + 20)]
    assert {"ran", "refused"} == set(outcomes)


@pytest.mark.slow
def test_what_is_accepted_also_runs_many_times() -> None:
    assert sum(outcome(seed) == "ran" for seed in range(1000, 3000)) > 200


def test_a_constant_operand_is_written_and_runs_in_onnx() -> None:
    quant, rng = Quant.per_tensor(0.05, 3), np.random.default_rng(0)
    data = rng.integers(-128, 128, (1, 3, 2, 5)).astype(np.int8)
    tensors = [Tensor(n, data.shape, "int8", quant, data if n == "k" else None) for n in "xky"]
    graph = Graph("g", {t.name: t for t in tensors}, (Node("sum", ops.Add(), ("x", "k"), "y"),), ("x",), ("y",)).check()
    run_everywhere(graph, rng)


def _renamed(graph: Graph, old: str, new: str) -> Graph:
    def name(other: str) -> str:
        return new if other == old else other

    tensors = {name(key): replace(tensor, name=name(key)) for key, tensor in graph.tensors.items()}
    nodes = [replace(n, inputs=tuple(map(name, n.inputs)), output=name(n.output)) for n in graph.nodes]
    return replace(graph, tensors=tensors, nodes=tuple(nodes)).check()


def test_a_tensor_with_the_name_of_an_added_one_does_not_change_the_tflite_file() -> None:
    """MEAN reads a constant that is called <node>_axes."""
    graph = small_net(np.random.default_rng(0), grn=False)
    (mean,) = (node for node in graph.nodes if isinstance(node.op, ops.Reduce))
    same = _renamed(graph, graph.nodes[-2].output, f"{mean.name}_axes")
    codes = random_input(np.random.default_rng(1), graph, 3)
    engine = LiteRTEngine(same, to_tflite(same), "reference")
    assert np.array_equal(engine.output_codes(codes), run(graph, codes))


def test_a_tensor_with_the_name_of_an_added_one_is_refused_in_onnx() -> None:
    graph = small_net(np.random.default_rng(0), grn=False)
    clash = _renamed(graph, graph.nodes[0].output, f"{graph.input}_scale")
    with pytest.raises(ExportError, match="two tensors of the ONNX file would have one name; got input_scale"):
        to_onnx(clash)


if __name__ == "__main__":
    amount = int(sys.argv[1])
    ran = sum(outcome(seed) == "ran" for seed in range(amount))
    print(f"{amount:,} stored graphs: {ran:,} ran everywhere, {amount - ran:,} refused, 0 other exceptions")
