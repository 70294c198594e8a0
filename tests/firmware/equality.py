"""A whole run on a target beside NumPy's: every byte of every activation that it shows."""

from __future__ import annotations

from typing import get_args

import pytest

from firmware_harness.compare import differences
from firmware_harness.engine import FirmwareEngine
from firmware_harness.schedule import Optimise
from firmware_harness.targets import Target
from runtime.arith import I8, Rounding
from runtime.engines import NumpyEngine
from runtime.graph import Graph

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
        found = differences(graph, nth_expected, {name: array[i] for name, array in got.items()})
        assert not found, f"vector {i}: {found[0]}"
    return expected
