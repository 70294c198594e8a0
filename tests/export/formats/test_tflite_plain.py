"""What engines refuse of a bundle's TFLite file that is not its graph's: each once ended the process."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.test_tflite_border import changed, operator, option, quant, tensor
from tests.export.formats.tflite_models import Net
from tests.graphs import random_input
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.runtime.engines import LiteRTEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.interpreter import run

MASKS = ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")
SLICE, CONV, RESHAPE, SOFTMAX = 0, 1, 2, 4  # operators


@pytest.fixture(scope="module")
def model() -> FileModel:
    net = Net(np.random.default_rng(0), (6, 5, 3))
    options = schema.StridedSliceOptionsT()
    for name in MASKS:
        setattr(options, name, 0)
    part = net.view("STRIDED_SLICE", net.input, (1, 4, 5, 3), [0, 2, 0, 0], [1, 6, 5, 3], [1] * 4, options=options)
    scores = net.softmax(net.dense(net.flat(net.conv(part, 4)), 5))
    return tflite_model(net.finish(scores), "net.tflite")


def of_output(number: int, change: Callable[[int], Callable[[schema.ModelT], None]]) -> Callable[[schema.ModelT], None]:
    """The change of an operator's output."""
    return lambda model: change(model.subgraphs[0].operators[number].outputs[0])(model)


FAULTS: dict[str, tuple[Callable[[schema.ModelT], None], str]] = {
    "softmax by 0": (option(SOFTMAX, "beta", 0.0), r"factor of the softmax.*above 0; got 0"),
    "softmax by less": (option(SOFTMAX, "beta", -1.63), "factor of the softmax"),
    "no scale": (of_output(CONV, lambda at: quant(at, "scale", [])), "quantisation of .*one scale above 0"),
    "scale of -0": (of_output(CONV, lambda at: quant(at, "scale", np.float32([-0.0]))), "quantisation of "),
    "no zero point": (of_output(CONV, lambda at: quant(at, "zeroPoint", [])), "quantisation of "),
    "variable": (
        lambda model: tensor(model.subgraphs[0].operators[RESHAPE].inputs[1], "isVariable", True)(model),
        "variable '.*none but the states of an LSTM",
    ),
    "offset over the end": (option(SLICE, "offset", True), "part with an offset"),
    "slice without steps": (
        lambda model: operator(SLICE, "inputs", model.subgraphs[0].operators[SLICE].inputs[:3])(model),
        "slice without stored places",
    ),
    "another output": (of_output(SLICE, lambda at: tensor(at, "shape", [1, 2, 5, 3])), "shape of the output"),
}


def test_the_file_itself_runs(model: FileModel) -> None:
    codes = random_input(np.random.default_rng(0), model.graph, 2)
    expected = run(model.graph, codes, rounding="single")
    assert np.array_equal(LiteRTEngine(model.graph, model.file("m.tflite")).output_codes(codes), expected)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_ends_the_process_is_refused(fault: str, model: FileModel) -> None:
    change, message = FAULTS[fault]
    with pytest.raises(RuntimeFailure, match=message):
        LiteRTEngine(model.graph, changed(model.file("m.tflite"), change))
