"""The op set is closed: every op has a row in every table of the house."""

from __future__ import annotations

import typing

import pytest

from export.simulate import ROWS as PYTORCH_ROWS
from export.to_onnx import EMITTERS as ONNX_ROWS
from export.to_tflite import EMITTERS as TFLITE_ROWS
from firmware_harness.layers import C_ROWS
from runtime import cost
from runtime.graph import OPS, Op
from runtime.kernels import KERNELS

TABLES = {
    "kernels": KERNELS,
    "onnx": ONNX_ROWS,
    "tflite": TFLITE_ROWS,
    "c": C_ROWS,
    "pytorch": PYTORCH_ROWS,
    "cost": cost._KINDS,
}


def test_the_graph_knows_exactly_the_ops_of_its_type() -> None:
    assert set(OPS) == set(typing.get_args(Op))


@pytest.mark.parametrize("table", TABLES)
def test_every_op_has_a_row(table: str) -> None:
    assert set(TABLES[table]) == set(OPS)
