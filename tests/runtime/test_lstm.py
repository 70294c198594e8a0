"""LSTM: its 16-bit functions against real ones, and the constants and scales that a graph may have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from tests.graphs import one_op
from tinyscene.runtime import gates, ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Quant

NUMBERS = np.arange(-(2**15), 2**15)


@pytest.mark.parametrize("rounding", get_args(Rounding))
def test_gates_are_within_some_steps_of_the_real_functions(rounding: Rounding) -> None:
    exact = 2**15 / (1 + np.exp(-NUMBERS / 4096))
    assert np.abs(gates.logistic(NUMBERS, rounding) - exact).max() < (16 if rounding == "single" else 4)
    for bits in range(9, 16):
        exact = 2**15 * np.tanh(NUMBERS / 2**bits)
        assert np.abs(gates.tanh(NUMBERS, bits, rounding) - exact).max() < (32 if rounding == "single" else 9), bits


def _graph(**changes: Any) -> Graph:
    """An LSTM with other fields of one of its tensors: x, weight, recurrent, bias or out."""
    graph = one_op(np.random.default_rng(1), "lstm")
    (node,) = (node for node in graph.nodes if isinstance(node.op, ops.Lstm))
    names = dict(zip(("x", "weight", "recurrent", "bias", "out"), (*node.inputs, node.output), strict=True))
    tensors = dict(graph.tensors)
    for role, fields in changes.items():
        tensors[names[role]] = replace(tensors[names[role]], **fields)
    return replace(graph, tensors=tensors)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "one scale": ({"weight": {"quant": Quant.per_tensor(0.01, 0)}}, "a scale for each gate"),
    "zero point": ({"recurrent": {"quant": Quant((0.5,) * 4, 3, 0)}}, "a symmetric int8 constant"),
    "an activation": ({"recurrent": {"data": None, "shape": (1, 4)}}, "recurrent"),
    "bias": ({"bias": {"quant": Quant((0.5,) * 4, 0, 0)}}, "bias scale is not input scale times weight scale"),
    "large scale": ({"out": {"quant": Quant.per_tensor(4.0, 0)}}, "output scale out of bounds"),
    "small scale": ({"out": {"quant": Quant.per_tensor(2.0**-15, 0)}}, "output scale out of bounds"),
    "overflow": ({"recurrent": {"quant": Quant((2.0**20,) * 4, 0, 0)}}, "accumulator can overflow int32"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_other_constants_and_scales_are_refused_by_name(fault: str) -> None:
    changes, message = FAULTS[fault]
    assert _graph().check()
    with pytest.raises(RuntimeFailure, match=message):
        _graph(**changes).check()
