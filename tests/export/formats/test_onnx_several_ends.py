"""ONNX files with several inputs and outputs: ONNX Runtime's answer to the file itself is the judge."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from tests.export.formats.onnx_networks import float_onnx, quantised_onnx, run_several
from tests.graphs import Builder, random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_read import from_onnx
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.runtime.arith import quantise
from tinyscene.runtime.engines import NumpyEngine, OrtEngine
from tinyscene.runtime.graph import MOST_ENDS
from tinyscene.runtime.onnx_tensors import to_onnx_inputs
from tinyscene.runtime.vectors import joined, parted

pytestmark = pytest.mark.needs_module("onnxruntime")
SHAPES = ((1, 3, 6, 6), (1, 5))


class Gated(nn.Module):
    """A picture scaled by a row of numbers; an output that is read further on, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(5, 8)
        self.last, self.scores = nn.Conv2d(8, 4, 3, stride=2), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = torch.relu(self.conv(x)) * torch.relu(self.gate(y))[:, :, None, None]
        return features, self.scores(torch.relu(self.last(features)).flatten(1))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_quantised_network_answers_as_onnx_runtime_does(form: str) -> None:
    data = quantised_onnx(float_onnx(Gated, *SHAPES), form=form)
    graph = from_onnx(data)
    assert graph.inputs == ("x", "y")
    assert graph.outputs == tuple(each.name for each in onnx.load_from_string(data).graph.output)
    codes = random_input(np.random.default_rng(0), graph, 6)
    shown: dict[str, list[np.ndarray]] = {name: [] for name in graph.outputs}
    for row in codes:
        reals = to_onnx_inputs(graph, parted(graph, graph.inputs, row[None]))
        for name, real in zip(graph.outputs, run_several(data, [reals["x"], reals["y"]], "uint8"), strict=True):
            real = np.moveaxis(real, 1, 3) if real.ndim == 4 else real
            shown[name].append(quantise(real, graph.tensors[name].quant)[0])
    expected = joined(graph, graph.outputs, {name: np.stack(rows) for name, rows in shown.items()})
    assert np.array_equal(NumpyEngine(graph, "single").output_codes(codes), expected)


def several() -> Builder:
    b = Builder(np.random.default_rng(2), "several", (6, 5, 3))
    b.new_input("other", (6, 5, 3))
    return b


def renamed(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    return copy


def test_files_of_our_own_come_back_with_their_ends() -> None:
    b = several()
    first = b.conv("other", (3, 3), channels=4, pads=(1, 1, 1, 1))
    graph = b.graph(b.mean(b.add(first, b.conv(b.input, (1, 1), channels=4), False)), first)
    codes = random_input(np.random.default_rng(1), graph, 4)
    expected = NumpyEngine(graph, "single").output_codes(codes)
    for kind in ("uint8", "int8"):
        read = from_onnx(to_onnx(graph, codes=kind))
        assert (read.inputs, read.outputs) == (graph.inputs, graph.outputs)
        assert np.array_equal(NumpyEngine(read, "single").output_codes(codes), expected)


@pytest.mark.parametrize("source", ["input", "conv2d_0_out"])
def test_an_input_or_output_that_is_given_out_again_is_copied(source: str) -> None:
    """Identity makes a second output of the same codes."""
    b = several()
    model = onnx.load_from_string(to_onnx(b.graph(b.conv(b.input, (1, 1), channels=4), b.lookup("other", "relu"))))
    codes = next(each.output[0] for each in model.graph.node if each.output[0] == f"{source}_codes")
    parameters = [f"{source}_scale", f"{source}_zero_point"]
    model.graph.node.append(helper.make_node("DequantizeLinear", [codes, *parameters], ["again"]))
    ends = {each.name: each for each in (*model.graph.input, *model.graph.output)}
    model.graph.output.append(renamed(ends[source], "again"))
    data = model.SerializeToString()
    graph = from_onnx(data)
    assert len(graph.outputs) == 3
    inputs = random_input(np.random.default_rng(1), graph, 2)
    trace: dict[str, np.ndarray] = NumpyEngine(graph, "single").outputs(inputs)
    assert np.array_equal(trace[graph.outputs[2]], trace[source])
    engine = OrtEngine(graph, to_onnx(graph))
    assert np.array_equal(engine.output_codes(inputs), joined(graph, graph.outputs, trace))


def test_an_input_that_nothing_reads_is_refused_by_name() -> None:
    """Its codes have no scale."""
    b = several()
    model = onnx.load_from_string(to_onnx(b.graph(b.conv(b.input, (1, 1)))))
    unused = next(each for each in model.graph.node if "other" in each.input)
    model.graph.node.remove(unused)
    with pytest.raises(ExportError, match=r"input 'other': it is not quantised, or nothing reads it"):
        from_onnx(model.SerializeToString())


def test_more_outputs_than_a_graph_may_have_are_refused() -> None:
    b = several()
    graph = b.graph(*[b.conv(b.input, (1, 1)) for _ in range(MOST_ENDS)])
    assert len(from_onnx(to_onnx(graph)).outputs) == MOST_ENDS
    model = onnx.load_from_string(to_onnx(graph))
    model.graph.node.append(helper.make_node("Identity", [graph.outputs[0]], ["one_more"]))
    model.graph.output.append(renamed(model.graph.output[0], "one_more"))
    with pytest.raises(ExportError, match=f"limit: {MOST_ENDS + 1} outputs; expected 1 to {MOST_ENDS}"):
        from_onnx(model.SerializeToString())
