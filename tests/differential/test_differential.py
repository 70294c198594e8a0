"""A part of ``python -m tests.differential``; the seed is the commit's hash, so that every commit tests other nets."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.runtime import ops
from tinyscene.runtime.arith import ROUNDINGS

from .__main__ import DSP_TWIN, ENGINES, Case, Row, on_engine, on_firmware, on_numpy, table
from .nets import random_net

ENGINE_NETS, C_NETS = 24, 8
FIXED_SEED = 20_250_101  # without a commit, as in a source archive


@pytest.fixture(scope="module")
def seed(repository: Path) -> int:
    """The first 31 bits of the commit's hash."""
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    return int(done.stdout[:8], 16) >> 1 if done.returncode == 0 else FIXED_SEED


def _require_no_finding(rows: dict[str, Row], seed: int) -> None:
    again = f"python -m tests.differential --seed {seed} --nets {ENGINE_NETS} --emulated 0"
    assert not any(row.findings for row in rows.values()), f"{again}\n{table(rows)}"


@pytest.mark.needs_module("ai_edge_litert", "onnxruntime", "tflite_micro")
def test_random_nets_on_the_engines(seed: int) -> None:
    rows: dict[str, Row] = {name: Row() for name in ENGINES}
    for number in range(ENGINE_NETS):
        on_numpy(Case.of(seed, number), rows)
        for name in ENGINES:
            rows[name].join(on_engine(name, seed, number))
    _require_no_finding(rows, seed)
    assert all(rows[name].equal + rows[name].excepted > ENGINE_NETS // 2 for name in ENGINES)


@pytest.mark.needs_tool("gcc", "objcopy")
@pytest.mark.parametrize("target", [HOST, DSP_TWIN], ids=lambda target: target.name)
def test_random_nets_in_c(target, seed: int, tmp_path: Path) -> None:
    """Without sanitizers, which only the command uses, because they take most of the time."""
    rows: dict[str, Row] = {}
    plain = replace(target, verify_flags=("-O1",))
    on_firmware([Case.of(seed, number) for number in range(C_NETS)], plain, rows, tmp_path)
    _require_no_finding(rows, seed)


@pytest.mark.needs_tool("gcc", "objcopy")
def test_a_wrong_byte_is_found(tmp_path: Path) -> None:
    """The comparison fails for a net whose C was emitted from other weights."""
    case = next(c for c in (Case.of(1, number) for number in range(50)) if _has_weight(c))
    other = replace(case.graph, tensors={n: _negated(t) for n, t in case.graph.tensors.items()})
    rows: dict[str, Row] = {}
    on_firmware([replace(case, graph=other)], replace(HOST, verify_flags=("-O1",)), rows, tmp_path)
    assert all(row.findings for row in rows.values())
    assert len(rows) == len(ROUNDINGS)


def _has_weight(case: Case) -> bool:
    node = case.graph.nodes[-1]
    return isinstance(node.op, ops.Conv2D) and len(np.unique(case.expected["double"][node.output])) > 5


def _negated(tensor):
    return tensor if tensor.data is None else replace(tensor, data=-tensor.data)


def test_nets_reach_every_op_and_both_ends_of_the_codes() -> None:
    graphs = [random_net(3, number) for number in range(120)]
    assert {type(node.op) for graph in graphs for node in graph.nodes} == set(ops.OPS)
    zero_points = {tensor.quant.zero_point for graph in graphs for tensor in graph.activations()}
    assert {-128, 127} <= zero_points
