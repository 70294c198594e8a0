"""Arithmetic that the processor lacks, as functions of the port, against NumPy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.firmware_harness.build.programs import run_program
from tests.firmware_harness.machines import on_each
from tinyscene.firmware_harness.build.targets import XTENSA, Target

HERE = Path(__file__).resolve().parent
OPERANDS = np.dtype([("first", "<u4"), ("second", "<u4"), ("wide_first", "<u8"), ("wide_second", "<u8")])
RESULTS = np.dtype(
    [(name, "<f4") for name in ("sum", "difference", "product", "quotient", "of_signed", "of_unsigned")]
    + [(name, "<u4") for name in ("truncated", "quotient_unsigned", "remainder_unsigned")]
    + [(name, "<i4") for name in ("quotient_signed", "remainder_signed")]
    + [("pad", "<u4")]
    + [(name, "<u8") for name in ("wide_product", "wide_quotient", "wide_remainder")]
    + [("wide_quotient_signed", "<i8")]
)
EDGES = np.array([0, 1, 2, 3, 0x7FFFFF, 0x800000, 0x800001, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000], np.uint32)


def _operands(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random bits, pairs of floats that nearly cancel, divisors of every length, and edges of the floats in pairs."""
    edges = np.concatenate([EDGES, EDGES | np.uint32(1 << 31)])
    operands = np.zeros(count + edges.size**2, OPERANDS)
    for name in ("first", "second"):
        operands[name] = rng.integers(0, 1 << 32, len(operands), np.uint32)
    for name in ("wide_first", "wide_second"):
        operands[name] = rng.integers(0, 1 << 64, len(operands), np.uint64) >> rng.integers(
            0, 64, len(operands), np.uint64
        )
    operands["second"] >>= rng.integers(0, 24, len(operands), np.uint32) * rng.integers(0, 2, len(operands), np.uint32)
    close = slice(0, count // 3)
    operands["second"][close] = operands["first"][close] ^ (
        rng.integers(0, 4, count // 3, np.uint32) | np.uint32(1 << 31)
    )
    operands["first"][count:], operands["second"][count:] = (part.ravel() for part in np.meshgrid(edges, edges))
    operands["second"][operands["second"] == 0] = 1 << 31
    operands["wide_second"][operands["wide_second"] == 0] = 7
    overflow = (operands["first"] == 1 << 31) & (operands["second"] == 0xFFFFFFFF)
    operands["second"][overflow] = 5
    return operands


@np.errstate(all="ignore")
def _expected(operands: np.ndarray) -> dict[str, np.ndarray]:
    a, b = operands["first"].view("<f4"), operands["second"].view("<f4")
    first, second = operands["first"].astype(np.int64), operands["second"].astype(np.int64)
    signed_first, signed_second = operands["first"].view("<i4").astype(np.int64), operands["second"].view("<i4")
    wide_first, wide_second = operands["wide_first"], operands["wide_second"]
    quotient_signed = np.trunc(signed_first / signed_second).astype(np.int64)
    pairs = zip(wide_first.view("<i8").tolist(), wide_second.view("<i8").tolist(), strict=True)
    return {
        "sum": a + b,
        "difference": a - b,
        "product": a * b,
        "quotient": a / b,
        "of_signed": operands["first"].view("<i4").astype("<f4"),
        "of_unsigned": operands["first"].astype("<f4"),
        "truncated": np.where((a >= 0) & (a < 2**32), a, 0).astype(np.uint32),
        "quotient_unsigned": first // second,
        "remainder_unsigned": first % second,
        "quotient_signed": quotient_signed,
        "remainder_signed": signed_first - quotient_signed * signed_second,
        "wide_product": wide_first * wide_second,
        "wide_quotient": wide_first // wide_second,
        "wide_remainder": wide_first % wide_second,
        "wide_quotient_signed": np.array([abs(x) // abs(y) * (1 if x * y >= 0 else -1) for x, y in pairs]),
    }


@on_each([XTENSA])
def test_sums_products_and_quotients_are_ieee_s_and_c_s(target: Target, tmp_path: Path) -> None:
    operands = _operands(np.random.default_rng(0), 30_000)
    finished = run_program(target, HERE / "arithmetic_check.c", tmp_path, operands.tobytes())
    results = np.frombuffer(finished.result, RESULTS)
    assert len(results) == len(operands)
    for name, expected in _expected(operands).items():
        equal = np.array_equal(results[name], expected, equal_nan=results[name].dtype == np.float32)
        assert equal, f"{name}: {operands[results[name] != expected][:3]}"
