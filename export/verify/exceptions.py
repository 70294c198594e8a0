"""Known differences of targets, each with a bound and a reason; every other output must agree in every byte.

docs/numeric-contract.md lists them for readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tinyscene.runtime import ops

from ..targets.raspberry_pi import PROCESSORS

OpType = type[ops.Op]
Rows = Iterable[tuple[OpType, float, str]]  # (op, share of elements, reason)


@dataclass(frozen=True)
class Tolerance:
    """A known difference: at most ``max_lsb`` in at most ``max_share`` of the elements, and its reason."""

    max_lsb: int
    max_share: float
    reason: str


# Shares also hold for clips that are compared because their scores differ; there a near-tie is several times as
# frequent as elsewhere.
_TENSORFLOW: Rows = (
    (ops.Reduce, 0.2, "the XNNPACK in TensorFlow 2.21 is older and rounds means in another order: near-ties differ"),
)
_TFLITE_RUNTIME: Rows = (
    (ops.Conv2D, 3e-2, "tflite-runtime's optimised 1x1 convolutions (ruy) round once, its other kernels twice"),
    (
        ops.Reduce,
        1.0,
        "tflite-runtime's optimised mean over space rounds the contribution of the zero points to a whole code",
    ),
)
_HEXAGON_REASON = "Hexagon keeps fewer bits below a code: at most 0.7 of one from the exact value, near-ties differ"
_HEXAGON: Rows = (
    (ops.Conv2D, 5e-2, _HEXAGON_REASON),
    (ops.DepthwiseConv2D, 0.1, _HEXAGON_REASON),
    (ops.FullyConnected, 5e-2, _HEXAGON_REASON),
    (ops.Softmax, 5e-2, _HEXAGON_REASON),
    (ops.Add, 5e-2, _HEXAGON_REASON),
    (ops.Sub, 5e-2, _HEXAGON_REASON),
    (ops.Mul, 0.15, _HEXAGON_REASON),
    (ops.Reduce, 1e-2, _HEXAGON_REASON),
    (ops.Pool2D, 0.5, "Hexagon rounds an average half up, TFLite half away from zero: ties differ"),
)
_LITERT_ON_ARM64: Rows = (
    (
        ops.Mul,
        5e-2,
        "XNNPACK rescales products in float32 on x86-64, in fixed point on arm64: near-ties differ",
    ),
    (
        ops.Reduce,
        5e-2,
        "XNNPACK rounds a mean's product and its sum on x86-64, only the sum on arm64: near-ties differ",
    ),
)
_ONNX_RUNTIME: Rows = (
    (ops.Add, 1e-3, "ONNX Runtime sums in float32, XNNPACK in 21-bit fixed point: near-ties differ"),
    (ops.Sub, 1e-3, "ONNX Runtime subtracts real values, XNNPACK in 21-bit fixed point: near-ties differ"),
    (ops.Pool2D, 0.5, "ONNX Runtime rounds an average half to even, TFLite half away from zero: ties differ"),
    # Where the ratio of the scales is 1 to 2 every 256th sum is a tie, and small sums are frequent: 6 of 48 occurred.
    (ops.Reduce, 0.25, "ONNX Runtime divides by the count, XNNPACK multiplies by its inverse: near-ties differ"),
    # A square has 256 possible values, so a tie is as frequent as its code.
    (ops.Mul, 1e-2, "ONNX Runtime multiplies real values in another order than XNNPACK: near-ties differ"),
)
_PYTORCH: Rows = (
    (ops.Conv2D, 1e-3, "PyTorch sums products in float32: near-ties differ"),
    (ops.DepthwiseConv2D, 1e-3, "PyTorch sums products in float32: near-ties differ"),
    (ops.FullyConnected, 1e-3, "PyTorch sums products in float32: near-ties differ"),
    (ops.Rsqrt, 0.2, "PyTorch takes the root in float32, the kernels in fixed point: near-ties differ"),
    (ops.Lookup, 0.2, "PyTorch requantises by the exact ratio, XNNPACK by one of 8 bits"),
    (ops.Pool2D, 0.5, "PyTorch rounds an average half to even, TFLite half away from zero: ties differ"),
)


def _reference_rows() -> Iterator[tuple[str, OpType, float, str]]:
    """Ops that TensorFlow Lite's own kernels round in another way than TFLite Micro's."""
    for target, kernels in (
        ("litert-reference", "LiteRT's reference"),
        ("tensorflow-reference", "TensorFlow's reference"),
        ("tflite-runtime", "tflite-runtime's optimised"),
    ):
        reason = f"{kernels} matrix product rounds once, TFLite Micro's twice: near-ties differ"
        yield target, ops.FullyConnected, 5e-2, reason
    for target, kernels in (
        ("litert-reference", "LiteRT's"),
        ("tensorflow-reference", "TensorFlow's"),
        ("tflite-runtime-reference", "tflite-runtime's"),
        ("tflite-runtime", "tflite-runtime's"),
    ):
        reason = f"{kernels} multiplier of products is computed from scales in float32, TFLite Micro's in double"
        yield target, ops.Mul, 1e-3, reason
    for target in ("litert-reference", "tensorflow-reference"):
        reason = "the reference logistic is float, TFLite Micro's fixed point: near-ties differ"
        yield target, ops.Lookup, 1e-2, reason


_ROWS_OF: dict[str, Rows] = {
    "tensorflow": _TENSORFLOW,
    "tflite-runtime": _TFLITE_RUNTIME,
    "hexagon": _HEXAGON,
    **{f"{board}-litert": _LITERT_ON_ARM64 for board in PROCESSORS},
    "ort": _ONNX_RUNTIME,
    "ort-int8": _ONNX_RUNTIME,
    "pytorch": _PYTORCH,
}
EXCEPTIONS: dict[tuple[str, OpType], Tolerance] = {
    **{(target, op): Tolerance(1, share, why) for target, rows in _ROWS_OF.items() for op, share, why in rows},
    **{(target, op): Tolerance(1, share, why) for target, op, share, why in _reference_rows()},
}


def tolerance_of(target: str, op: OpType) -> Tolerance | None:
    """A target's exception for an op. An engine on a Raspberry Pi has its own exceptions and those of the engine."""
    board, _, engine = target.partition("-")
    return EXCEPTIONS.get((target, op)) or (EXCEPTIONS.get((engine, op)) if board in PROCESSORS else None)
