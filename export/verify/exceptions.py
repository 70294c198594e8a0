"""Known differences of targets, each with its arithmetic or a bound, and a reason; every other byte must agree.

docs/numeric-contract.md lists them for readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import conv_rescale, fixed_point, rescale_double, rescale_once
from tinyscene.runtime.arrays import F64, I8, I64
from tinyscene.runtime.function_tables import leaky_relu_of_float_scales
from tinyscene.runtime.kernels import fully_connected_accumulator, operands
from tinyscene.runtime.lookup_tables import function_table

from ..targets.raspberry_pi import PROCESSORS
from ..targets.web import SAME_AS
from . import ort_arithmetic
from .diagnose import ObservedOp
from .known_differences import (
    ArithmeticOrTolerance,
    CodeTolerance,
    KnownDifference,
    OtherArithmetic,
    RoundedFloat32,
    Tolerance,
)

OpType = type[ops.Op]
Kind = OpType | ops.Function  # an op, or one function of Lookup
Rows = Iterable[tuple[OpType, float, str]]  # (op, share of elements, reason)


def _rounded_once(observed: ObservedOp) -> I8:
    """One rounding. The factor is s_x * s_w / s_out in float64, also with one scale for the whole weight."""
    graph, node = observed.graph, observed.node
    rescale = conv_rescale(observed.quant(0), observed.quant(1), graph.out(node).quant)
    acc = fully_connected_accumulator(graph, node, observed.arrays)
    return _codes(observed, rescale_once(acc, rescale.multiplier, rescale.shift))


def _product_of_double_scales(observed: ObservedOp) -> I8:
    """The ``double`` rule with a factor s_x * s_w / s_out in float64, also with one scale for the whole weight."""
    graph, node = observed.graph, observed.node
    rescale = conv_rescale(observed.quant(0), observed.quant(1), graph.out(node).quant)
    acc = fully_connected_accumulator(graph, node, observed.arrays)
    return _codes(observed, rescale_double(acc, rescale.multiplier, rescale.shift))


def _product_of_float_scales(observed: ObservedOp) -> I8:
    """The ``double`` rule with a multiplier from the factor in float32."""
    a, b = observed.quant(0), observed.quant(1)
    x, y = operands(observed.graph, observed.node, observed.arrays)
    centred = (x - a.zero_point) * (y - b.zero_point)
    factor = conv_rescale(a, b, observed.graph.out(observed.node).quant).factor
    return _codes(observed, rescale_double(centred, *fixed_point(factor.astype(np.float64))))


def _function_of_float_scales(observed: ObservedOp) -> I8:
    """A piecewise linear function by factors from scales in float32, with the two roundings of the ``double`` rule."""
    op, x, out = observed.node.op, observed.quant(0), observed.graph.out(observed.node).quant
    assert isinstance(op, ops.Lookup)
    leaky = op.function == "leaky_relu"
    table = leaky_relu_of_float_scales(op.alpha, x, out) if leaky else function_table(op, x, out, "single")
    codes: I8 = table[observed.arrays[0].astype(np.int64) + 128]
    return codes


def _products_of_litert(observed: ObservedOp) -> I8:
    """XNNPACK's rule where the second operand has zero point 0, otherwise ``double``."""
    return observed.computed(rounding="double" if observed.quant(1).zero_point else "single")


def _depthwise_rounded_twice(observed: ObservedOp) -> I8:
    """The ``double`` rule of a depthwise convolution.

    Where its weights leave int8 it is a convolution whose input is a reshape of each channel's copies, side by side.
    """
    graph, node = observed.graph, observed.node
    copies = next((each for each in graph.nodes if each.output == node.inputs[0]), None)
    of_copies = copies is not None and isinstance(copies.op, ops.Reshape) and len(graph.ins(copies)[0].shape) == 5
    depthwise = isinstance(node.op, ops.DepthwiseConv2D) or of_copies
    return observed.computed(rounding="double" if depthwise else "single")


def _log_softmax(observed: ObservedOp) -> tuple[F64, float]:
    """Exact values, and the error of float32: eight roundings of numbers up to the largest, and those of the sum.

    A kernel takes the row's largest value from each, sums their exponentials, and subtracts the sum's logarithm. All
    distances, values and logarithms are at most 255 input steps plus ln(n). A sum of n terms in any order has a
    relative error of at most n roundings, which is the absolute error of its logarithm.
    """
    x, step = observed.arrays[0].astype(np.float64), observed.quant(0).scale[0]
    distances = (x - x.max(axis=-1, keepdims=True)) * step
    exact = distances - np.log(np.exp(distances).sum(axis=-1, keepdims=True))
    largest = 255 * step + np.log(x.shape[-1]) + 1
    error = float(8 * largest + x.shape[-1]) * 2.0**-24
    out_step = observed.graph.out(observed.node).quant.scale[0]
    return exact / out_step, error / out_step


def _codes(observed: ObservedOp, rescaled: I64) -> I8:
    return observed.saturated(rescaled + observed.graph.out(observed.node).quant.zero_point)


# Shares also hold for clips that are compared because their scores differ; there a near-tie is several times as
# frequent as elsewhere.
_TENSORFLOW: Rows = (
    (ops.Reduce, 0.2, "the XNNPACK in TensorFlow 2.21 is older and rounds means in another order: near-ties differ"),
)
_TFLITE_RUNTIME: Rows = (
    (ops.FullyConnected, 5e-2, "tflite-runtime's optimised matrix products round once or twice: near-ties differ"),
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
    (ops.FullyConnected, 0.1, _HEXAGON_REASON),
    (ops.Softmax, 0.5, _HEXAGON_REASON),
    (ops.Add, 5e-2, _HEXAGON_REASON),
    (ops.Sub, 5e-2, _HEXAGON_REASON),
    (ops.Mul, 0.15, _HEXAGON_REASON),
    (ops.Reduce, 1e-2, _HEXAGON_REASON),
    (ops.TransposeConv2D, 0.25, _HEXAGON_REASON),
    (ops.PRelu, 0.25, _HEXAGON_REASON),
    (ops.Resize, 0.25, _HEXAGON_REASON),
    (ops.LogSoftmax, 0.5, _HEXAGON_REASON),
    (ops.L2Norm, 1.0, "Hexagon divides a row by its norm with fewer bits below a code: half of the codes differ"),
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
    (ops.TransposeConv2D, 1e-3, "ONNX Runtime sums products in float32: near-ties differ"),
    # Where the size is doubled a weight is a half, so that ties abound: 0.25 occurred.
    (
        ops.Resize,
        0.5,
        "ONNX Runtime rounds a float32 mean half to even, XNNPACK one of 22 bits half up: ties differ",
    ),
    (
        ops.Softmax,
        1e-2,
        "ONNX Runtime rounds a share half to even, LiteRT half up: a row of 512 equal codes is all ties",
    ),
    (ops.L2Norm, 0.5, "ONNX Runtime divides in float32, TFLite rounds twice with few bits in between for long rows"),
    (ops.PRelu, 0.5, "ONNX Runtime rounds a PReLU once, TFLite twice with few bits in between"),
    # A square has 256 possible values, so a tie is as frequent as its code.
    (ops.Mul, 1e-2, "ONNX Runtime multiplies real values in another order than XNNPACK: near-ties differ"),
)
_FLOAT = "ONNX Runtime computes an operator that it does not fuse in float32: near-ties differ"
_REAL_BIAS = "ONNX Runtime adds a real bias in float32, here it is a whole number of an accumulator's steps"
# Scales whose ratios are powers of two, as some quantisers choose them, make half of all sums ties.
_TIES = "ONNX Runtime computes real values in float32 and rounds half to even, XNNPACK half up: ties differ"
_ONNX_RUNTIME_ON_THE_FILE: Rows = (
    *_ONNX_RUNTIME,
    (ops.Conv2D, 5e-3, _REAL_BIAS),
    # A constant that is added has 127 steps for each of the input's: 0.4 % of the elements differ at a ratio of 1.
    (ops.DepthwiseConv2D, 2e-2, _REAL_BIAS),
    (ops.FullyConnected, 5e-3, _REAL_BIAS),
    (ops.BatchMatMul, 1e-3, _FLOAT),
    # Where the ratio of the scales is 1 to 2 every 256th sum is a tie, and small sums are frequent.
    (ops.Reduce, 0.25, _FLOAT),
    (ops.Add, 0.5, _TIES),
    (ops.Sub, 0.5, _TIES),
    (ops.Mul, 0.5, _TIES),
    (
        ops.Table,
        5e-2,
        "ONNX Runtime computes a function in float32, a table in double precision: near-ties differ",
    ),
    (ops.Pool2D, 0.5, "ONNX Runtime rounds an average half to even, TFLite half away from zero: ties differ"),
)
_PYTORCH: Rows = (
    (ops.Conv2D, 1e-3, "PyTorch sums products in float32: near-ties differ"),
    (ops.DepthwiseConv2D, 1e-3, "PyTorch sums products in float32: near-ties differ"),
    (ops.TransposeConv2D, 1e-3, "PyTorch sums products in float32: near-ties differ"),
    (ops.FullyConnected, 1e-3, "PyTorch sums products in float32: near-ties differ"),
    (ops.BatchMatMul, 1e-3, "PyTorch sums products in float32: near-ties differ"),
    (ops.Softmax, 1e-3, "PyTorch sums exponentials in another order, and rounds half to even: near-ties differ"),
    (ops.L2Norm, 0.5, "PyTorch divides in float32, TFLite rounds twice with few bits in between for long rows"),
    (ops.Rsqrt, 0.2, "PyTorch takes the root in float32, the kernels in fixed point: near-ties differ"),
    (ops.PRelu, 0.5, "PyTorch rounds a PReLU once, TFLite twice with few bits in between"),
    # Just below a ratio of 1 to 2 every odd code is a tie after the first rounding.
    (ops.Lookup, 0.5, "PyTorch rescales once by the exact ratio, XNNPACK by one of 8 bits, LiteRT in two roundings"),
    (ops.Pool2D, 0.5, "PyTorch rounds an average half to even, TFLite half away from zero: ties differ"),
    (ops.Resize, 0.5, "PyTorch rounds a weighted mean half to even, XNNPACK half up: ties differ"),
)


_TOSA: Rows = (
    (ops.Reduce, 0.25, "TOSA's converter rescales each summand to more bits before a sum: near-ties differ"),
    (ops.Resize, 0.5, "TOSA's bilinear weights are exact fractions, TFLite's have 10 bits: near-ties differ"),
)


def _other_kernels() -> Iterator[tuple[str, Kind, KnownDifference]]:
    """Ops that TensorFlow Lite's own kernels round in another way than TFLite Micro's or XNNPACK's."""
    for target, kernels in (("litert-reference", "LiteRT's"), ("tensorflow-reference", "TensorFlow's")):
        reason = f"{kernels} reference matrix product rounds once, TFLite Micro's twice: near-ties differ"
        yield target, ops.FullyConnected, OtherArithmetic(_rounded_once, reason)
    for target, kernels in (
        ("litert-reference", "LiteRT's"),
        ("tensorflow-reference", "TensorFlow's"),
        ("tflite-runtime-reference", "tflite-runtime's"),
        ("tflite-runtime", "tflite-runtime's"),
    ):
        reason = f"{kernels} multiplier of products is computed from scales in float32, TFLite Micro's in double"
        yield target, ops.Mul, OtherArithmetic(_product_of_float_scales, reason)
    for target in ("litert-reference", "tensorflow-reference", "tflite-runtime-reference", "tflite-runtime"):
        reason = "an LSTM's gates are of 16-bit fixed point in TensorFlow Lite's kernels, of a table in TFLite Micro"
        yield target, ops.Lstm, OtherArithmetic(lambda observed: observed.computed(rounding="single"), reason)
    reason = "TOSA's converter multiplies the scales of a matrix product in double, TFLite in float32: near-ties differ"
    yield "tosa", ops.FullyConnected, OtherArithmetic(_product_of_double_scales, reason)
    reason = "XNNPACK multiplies two activations only if the second has zero point 0; LiteRT's own kernel rounds twice"
    yield "litert", ops.BatchMatMul, OtherArithmetic(_products_of_litert, reason)
    reason = "LiteRT's depthwise convolutions of uint8 round twice"
    for convolution in (ops.Conv2D, ops.DepthwiseConv2D):
        yield "litert-original", convolution, OtherArithmetic(_depthwise_rounded_twice, reason)
    reason = "TFLite Micro's log softmax is of fixed point, and gives -128 where that ends; this one is float32"
    for target in ("litert", "ort", "ort-int8", "pytorch"):
        yield target, ops.LogSoftmax, RoundedFloat32(_log_softmax, reason)
    for target in ("litert-reference", "tensorflow-reference"):
        reason = "a PReLU's factors are computed from scales in float32, TFLite Micro's in double: near-ties differ"
        yield target, ops.PRelu, OtherArithmetic(lambda observed: observed.computed(rounding="single"), reason)
        for function in ("logistic", "tanh"):
            reason = f"the reference {function} is float, TFLite Micro's fixed point: near-ties differ"
            yield target, function, CodeTolerance(1, _MOST_TIES, reason)
        reason = "factors are computed from scales in float32, TFLite Micro's in double: near-ties differ"
        for piecewise in ("relu", "leaky_relu", "abs"):
            yield target, piecewise, OtherArithmetic(_function_of_float_scales, reason)


_MOST_TIES = 4  # codes of one table whose result is within a step of float32 of a tie


def _function_rows() -> Iterator[tuple[str, Kind, KnownDifference]]:
    """Functions whose result depends on the last bit of the C library's float32 functions, and PyTorch's."""
    reason = "the C library's float32 functions are not all correctly rounded: near-ties differ"
    for target in ("litert", "litert-reference", "tflm", "tensorflow", "tensorflow-reference"):
        for function in ("elu", "exp", "gelu", "gelu_tanh", "log"):
            yield target, function, CodeTolerance(1, _MOST_TIES, reason)
    yield "litert", "tanh", CodeTolerance(1, _MOST_TIES, reason)
    yield "tensorflow", "tanh", CodeTolerance(1, _MOST_TIES, reason)
    reason = "PyTorch squares a difference of float32, TFLite one with 7 bits below the larger scale"
    yield "pytorch", ops.SquaredDifference, OtherArithmetic(ort_arithmetic.squared_difference, reason)
    yield "pytorch", ops.Lstm, Tolerance(4, 0.5, "PyTorch's gates are float, the kernels' 16-bit fixed point")
    yield "pytorch", "sqrt", Tolerance(1, 1.0, "PyTorch rounds a square root, LiteRT cuts it")
    yield "pytorch", "neg", CodeTolerance(255, 1, "the code -128 has no negative and wraps around in LiteRT")
    yield "pytorch", "log", CodeTolerance(255, _MOST_TIES, "PyTorch takes the logarithm of 0 as that of 1e-12")


def _ort_rows() -> Iterator[tuple[str, Kind, KnownDifference]]:
    """Ops whose float32 arithmetic on ONNX Runtime is known."""
    for target, offset in (("ort", 128), ("ort-int8", 0)):
        reason = "ONNX Runtime rounds a float32 value half to even: scales whose ratio is a short fraction have ties"
        for kind in (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected):
            yield target, kind, RoundedFloat32(ort_arithmetic.layer, reason)
        reason = "ONNX Runtime sums in float32, XNNPACK in 21-bit fixed point: near-ties differ"
        exact = OtherArithmetic(partial(ort_arithmetic.added, offset=offset), reason)
        yield target, ops.Add, ArithmeticOrTolerance(exact, Tolerance(1, 1e-3, reason))
        reason = "ONNX Runtime rounds a sum times one factor, XNNPACK adds zero points in float32: near-ties differ"
        yield target, ops.Reduce, OtherArithmetic(ort_arithmetic.mean, reason)
        reason = "ONNX Runtime subtracts real values, XNNPACK in 21-bit fixed point: near-ties differ"
        yield target, ops.Sub, OtherArithmetic(ort_arithmetic.subtracted, reason)
        reason = "ONNX Runtime squares a difference of float32, TFLite one with 7 bits below the larger scale"
        yield target, ops.SquaredDifference, OtherArithmetic(ort_arithmetic.squared_difference, reason)
        reason = "ONNX Runtime rounds an average half to even, TFLite half away from zero: ties differ"
        exact = OtherArithmetic(partial(ort_arithmetic.averaged, offset=offset), reason)
        yield target, ops.Pool2D, ArithmeticOrTolerance(exact, Tolerance(1, 0.5, reason))


def _original_rows() -> Iterator[tuple[str, Kind, KnownDifference]]:
    """Codes of softmax are 1/256 apart in the graph; a file's own scale is a table behind them."""
    reason = "ONNX Runtime rounds a share once to the file's scale, here it is rounded to 1/256 before"
    for target in ("ort-original", "ort-original-float"):
        yield target, ops.Softmax, Tolerance(2, 0.5, reason)


_ROWS_OF: dict[str, Rows] = {
    "tensorflow": _TENSORFLOW,
    "tflite-runtime": _TFLITE_RUNTIME,
    "hexagon": _HEXAGON,
    **{f"{board}-litert": _LITERT_ON_ARM64 for board in PROCESSORS},
    "ort": _ONNX_RUNTIME,
    "ort-int8": _ONNX_RUNTIME,
    "ort-original": _ONNX_RUNTIME_ON_THE_FILE,
    "ort-original-float": _ONNX_RUNTIME_ON_THE_FILE,
    "pytorch": _PYTORCH,
    "tosa": _TOSA,
}
EXCEPTIONS: dict[tuple[str, Kind], KnownDifference] = {
    **{(target, op): Tolerance(1, share, why) for target, rows in _ROWS_OF.items() for op, share, why in rows},
    **{
        (target, kind): known
        for target, kind, known in (*_other_kernels(), *_function_rows(), *_ort_rows(), *_original_rows())
    },
    ("hexagon", ops.BatchMatMul): Tolerance(2, 0.5, "Hexagon multiplies two activations with fewer bits"),
}


def known_difference(target: str, op: ops.Op) -> KnownDifference | None:
    """A target's exception for an op; a function of Lookup may have its own.

    An engine on a Raspberry Pi has its own exceptions and those of the engine; one in WebAssembly those of the engine.
    """
    board, _, engine = target.partition("-")
    kinds: list[Kind] = [op.function, type(op)] if isinstance(op, ops.Lookup) else [type(op)]
    targets = (target, engine) if board in PROCESSORS else (SAME_AS.get(target, target),)
    found = (EXCEPTIONS.get((name, kind)) for name in targets for kind in kinds)
    return next((known for known in found if known is not None), None)
