"""A run on a target compared with NumPy's, every byte of every activation between calls."""

from __future__ import annotations

from typing import get_args

import pytest

from tinyscene.firmware_harness.build.targets import Target
from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.firmware_harness.run.differences import differences
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import Graph

both_rules = pytest.mark.parametrize("rounding", get_args(Rounding))


def assert_equal(
    target: Target, graph: Graph, codes: I8, rounding: Rounding, optimise: Optimise = "layers"
) -> dict[str, I8]:
    """Fail at the first difference; ``layers`` must show every activation. Returns NumPy's, int8 (batch, ...)."""
    expected = NumpyEngine(graph, rounding).outputs(codes)
    got = FirmwareEngine(graph, target, rounding, optimise=optimise).outputs(codes)
    if optimise == "layers":
        assert list(got) == [t.name for t in graph.activations()]
    for i in range(len(codes)):
        nth_expected = {name: array[i] for name, array in expected.items()}
        differing = differences(graph, nth_expected, {name: array[i] for name, array in got.items()})
        assert not differing, f"vector {i}: {differing[0]}"
    return expected
