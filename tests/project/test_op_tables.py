"""The op set is closed: every op has a row in every table."""

from __future__ import annotations

import typing

import pytest

from tinyscene.export.formats.onnx_write import EMITTERS as ONNX_ROWS
from tinyscene.export.quantise.simulate import ROWS as PYTORCH_ROWS
from tinyscene.firmware_harness.emit.layers import C_ROWS
from tinyscene.runtime import cost, ops
from tinyscene.runtime.kernels import KERNELS
from tinyscene.runtime.tflite_write import EMITTERS as TFLITE_ROWS

TABLES = {
    "kernels": KERNELS,
    "onnx": ONNX_ROWS,
    "tflite": TFLITE_ROWS,
    "c": C_ROWS,
    "pytorch": PYTORCH_ROWS,
    "cost": cost._KINDS,
}


def test_the_op_table_has_exactly_the_ops_of_the_union() -> None:
    assert set(ops.OPS) == set(typing.get_args(ops.Op))


@pytest.mark.parametrize("table", TABLES)
def test_every_op_has_a_row(table: str) -> None:
    assert set(TABLES[table]) == set(ops.OPS)
