"""Forms in which tools write quantised ONNX files, each as a small file: ONNX Runtime on it is the judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.export.formats.onnx_files import File, differences
from tinyscene.export.check.count_onnx import onnx_layers
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_read import from_onnx

pytestmark = pytest.mark.needs_module("onnxruntime")
IMAGE, ROW = (1, 4, 6, 5), (1, 10)
Make = Callable[[File], str]  # from a file to its output, before it is quantised


def image(f: File) -> str:
    return f.quantised(f.input(IMAGE))


def conv(f: File, x: str, **of_weight: object) -> str:
    return f.node("Conv", x, f.weight((6, 4, 3, 3), **of_weight), f.bias(6), pads=[1, 1, 1, 1])  # type: ignore[arg-type]


def channels(f: File, count: int, rank: int = 4, mean: float = 0.0) -> str:
    return f.constant(f.rng.normal(mean, 0.4, (1, count, *[1] * (rank - 2))), np.float32)


def limits(f: File, low: float | None, high: float | None) -> list[str]:
    return ["" if end is None else f.constant(end, np.float32) for end in (low, high)]


def norm(f: File, x: str, count: int) -> str:
    return f.node("BatchNormalization", x, *(f.constant(f.rng.uniform(0.5, 2, count), np.float32) for _ in range(4)))


def require_equal(f: File, output: str, *, largest: int = 0) -> None:
    off = np.abs(differences(f.bytes(output), 3))
    assert off.max() <= largest, (off.max(), float((off > 0).mean()))
    assert np.count_nonzero(off) <= 0.5 * off.size


@pytest.mark.parametrize("opset", [13, pytest.param(17, marks=pytest.mark.slow), 19, 21, 23])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_opsets_and_types(opset: int, dtype: str) -> None:
    f = File(opset=opset, dtype=dtype)
    require_equal(f, f.quantised(conv(f, image(f)), 0.1))


@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize("form", ["codes", "real", "clipped"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_weights(axis: int | None, form: str, dtype: str) -> None:
    """Real weights before QuantizeLinear are those of PyTorch; with Clip to -127 and 127 those of Brevitas."""
    if (form, dtype) == ("clipped", "uint8"):
        pytest.skip("narrow ranges are of int8")
    f = File()
    require_equal(f, f.quantised(conv(f, image(f), axis=axis, form=form, dtype=dtype), 0.1))


@pytest.mark.parametrize("kind", ["conv", "depthwise", "rows"])
@pytest.mark.parametrize("zero", [-128, 30])
def test_weights_with_a_zero_point(kind: str, zero: int) -> None:
    """Codes minus the zero point leave int8: ONNX Runtime's quantiser writes weights of uint8 in this way."""
    f = File()
    wide = {"dtype": "uint8", "zero": zero, "axis": None}
    if kind == "rows":
        y = f.node("Gemm", f.quantised(f.input(ROW)), f.weight((7, 10), **wide), f.bias(7), transB=1)
    elif kind == "conv":
        y = conv(f, image(f), **wide)
    else:
        y = f.node("Conv", image(f), f.weight((8, 1, 3, 3), **wide), f.bias(8), group=4)
    require_equal(f, f.quantised(y, 0.2))


@pytest.mark.parametrize("bias", ["real", "codes", "none"])
def test_biases(bias: str) -> None:
    f = File()
    x = f.quantised(f.input(ROW))
    weight = f.weight((7, 10))
    given = {"real": lambda: [f.constant(f.rng.normal(size=7), np.float32)], "none": list, "codes": lambda: [f.bias(7)]}
    y = f.node("Gemm", x, weight, *given[bias](), transB=1)
    require_equal(f, f.quantised(y))


def brevitas(f: File) -> str:
    """Activations of -127 to 127."""
    s = f.stated(0.05, 0)
    ends = f.constant(-127, "int8"), f.constant(127, "int8")
    x = f.node("DequantizeLinear", f.node("Clip", f.node("QuantizeLinear", f.input(IMAGE), *s), *ends), *s)
    return f.node("Relu", norm(f, conv(f, x, form="clipped", axis=None), 6))


def computed_bias(f: File) -> str:
    """An int32 bias from a real one, as Brevitas writes it."""
    x, weight, scale = image(f), f.weight((6, 4, 3, 3), axis=None), f.constant(np.float32(1e-4))
    codes = f.node("Round", f.node("Div", f.constant(f.rng.normal(size=6), np.float32), scale))
    codes = f.node("Cast", f.node("Clip", codes, f.constant(np.float32(-1e5)), f.constant(np.float32(1e5))), to=6)
    return f.node("Conv", x, weight, f.node("DequantizeLinear", codes, scale), pads=[1, 1, 1, 1])


def pytorch(f: File) -> str:
    """As torch.onnx.export writes a pt2e program: float bias, a ReLU in float, the mean by an input."""
    f.axis_of_codes = {"axis": 1}
    x = f.node("Relu", f.node("Conv", image(f), f.weight((8, 4, 3, 3)), f.constant(f.rng.normal(size=8), np.float32)))
    return f.node("ReduceMean", f.quantised(x, 0.03, -128), f.constant([2, 3], np.int64), keepdims=0)


def between_relus(f: File) -> str:
    """The limits follow one another before they are quantised."""
    x = f.node("Clip", conv(f, image(f)), *limits(f, -2.0, -1.0))
    return f.node("Relu", f.node("Add", f.quantised(x), f.constant(2.0, np.float32)))


def old_hard_swish(f: File) -> str:
    x = image(f)
    y = f.node("Clip", f.node("Add", x, f.constant(3.0, np.float32)), *limits(f, 0.0, 6.0))
    return f.node("Div", f.node("Mul", x, y), f.constant(6.0, np.float32))


def gelu_by_erf(f: File) -> str:
    x = image(f)
    erf = f.node("Erf", f.node("Div", x, f.constant(np.sqrt(2), np.float32)))
    return f.node("Mul", f.node("Mul", x, f.node("Add", erf, f.constant(1.0, np.float32))), f.constant(0.5, np.float32))


def chains(f: File) -> str:
    x = conv(f, f.quantised(image(f)))
    return f.quantised(f.quantised(f.quantised(x, 0.1), 0.1), 0.2)


def without_moves(f: File) -> str:
    x = f.node("Identity", conv(f, f.node("Dropout", f.node("Identity", image(f)))))
    return f.node("Cast", x, to=1)


def gated(f: File, gate: Callable[[str], str]) -> str:
    x = image(f)
    return f.node("Mul", x, gate(x))


FORMS: dict[str, Make] = {
    "brevitas": brevitas,
    "computed bias": computed_bias,
    "pytorch": pytorch,
    "chains": chains,
    "identities": without_moves,
    "batch norm": lambda f: norm(f, image(f), 4),
    "conv, batch norm, relu": lambda f: f.node("Relu", norm(f, conv(f, image(f)), 6)),
    "conv, mul, add": lambda f: f.node("Add", f.node("Mul", conv(f, image(f)), channels(f, 6, 4, 1)), channels(f, 6)),
    "conv, sub": lambda f: f.node("Sub", conv(f, image(f)), channels(f, 6)),
    "conv, limits": lambda f: f.node("Clip", conv(f, image(f)), *limits(f, -1.0, 1.0)),
    "conv, an upper limit": lambda f: f.node("Clip", conv(f, image(f)), *limits(f, None, 2.0)),
    "relu, relu6": lambda f: f.node("Clip", f.node("Relu", conv(f, image(f))), *limits(f, 0.0, 6.0)),
    "between relus": between_relus,
    "limits": lambda f: f.node("Clip", image(f), *limits(f, -1.0, 2.0)),
    "rows": lambda f: f.node(
        "Relu", norm(f, f.node("Conv", f.quantised(f.input((1, 4, 20))), f.weight((6, 4, 3)), strides=[2]), 6)
    ),
    "matmul, add": lambda f: f.node(
        "Add", f.node("MatMul", f.quantised(f.input(ROW)), f.weight((10, 7), axis=1)), channels(f, 7, 2)
    ),
    "codes, add": lambda f: f.node("Add", f.quantised(f.input(ROW)), channels(f, 10, 2)),
    "silu": lambda f: gated(f, lambda x: f.node("Sigmoid", x)),
    "hard swish": lambda f: gated(f, lambda x: f.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
    "mish": lambda f: gated(f, lambda x: f.node("Tanh", f.node("Softplus", x))),
    "old hard swish": old_hard_swish,
    "gelu by erf": gelu_by_erf,
    "larger of two": lambda f: gated(f, lambda x: f.quantised(f.node("Max", x, f.quantised(f.node("Neg", x), 0.07)))),
    "blocks to space": lambda f: f.node("DepthToSpace", f.quantised(f.input((1, 8, 3, 4))), blocksize=2, mode="CRD"),
    "space to blocks": lambda f: f.node("SpaceToDepth", f.quantised(f.input((1, 3, 4, 6))), blocksize=2),
}
FUNCTIONS = [
    *("Abs", "Atan", "Ceil", "Celu", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu"),
    *("Mish", "Neg", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Softplus", "Softsign", "Tanh"),
]
ROUNDED = {"batch norm", "pytorch", "larger of two", "codes, add"}  # real constants, ties of means and products


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    f = File(opset=18, dtype="int8" if name == "brevitas" else "uint8")
    require_equal(f, f.quantised(FORMS[name](f), 0.1), largest=int(name in ROUNDED))


def test_clipped_weights_are_counted() -> None:
    """The Clip around the codes of a weight was a layer of its own that no rule counts."""
    f = File(opset=18, dtype="int8")
    layers = onnx_layers(f.bytes(f.quantised(brevitas(f), 0.1)), Path("made.onnx"))
    weights = {layer.op: layer.weights for layer in layers if layer.weights}
    assert weights == {"Conv": 216, "BatchNormalization": 6}  # beside biases
    assert "uncounted" not in {layer.kind for layer in layers}


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0), (0.5, 0.0)])
def test_factors_of_gemm(transposed: int, alpha: float, beta: float) -> None:
    f = File()
    x = f.quantised(f.input(ROW))
    weight = f.weight((7, 10) if transposed else (10, 7), axis=1 - transposed)
    bias = f.constant(f.rng.normal(size=(1, 7)), np.float32)
    require_equal(f, f.quantised(f.node("Gemm", x, weight, bias, transB=transposed, alpha=alpha, beta=beta)), largest=1)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions(kind: str) -> None:
    f = File(opset=20)
    require_equal(f, f.quantised(f.node(kind, f.quantised(f.input((1, 1, 4, 64)))), 0.05))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pads(mode: str) -> None:
    f = File(opset=19)
    x, pads = image(f), f.constant([0, 0, 1, 2, 0, 0, -2, 1], np.int64)
    require_equal(f, f.quantised(f.node("Pad", x, pads, f.constant(0.5, np.float32), mode=mode), 0.1))


@pytest.mark.parametrize(("opset", "by_input"), [(13, False), (17, False), (18, True)])
@pytest.mark.parametrize("keep", [0, 1])
def test_means(opset: int, by_input: bool, keep: int) -> None:
    f = File(opset=opset)
    x = image(f)
    axes = ([f.constant([-1, 2], np.int64)], {}) if by_input else ([], {"axes": [-1, 2]})
    mean = f.node("ReduceMean", x, *axes[0], keepdims=keep, **axes[1])
    require_equal(f, f.quantised(f.node("Flatten", mean), 0.037), largest=1)


def test_a_square_of_a_square_is_computed_once_for_each() -> None:
    """A hundred products of a function with itself are as many tables of 256 numbers."""
    f = File()
    y = f.node("Sigmoid", image(f))
    for _ in range(100):
        y = f.node("Mul", y, y)
    assert len(from_onnx(f.bytes(f.quantised(y))).nodes) == 1


# Odd but legal files


def test_a_constant_that_is_added_to_a_sum_is_not_lost() -> None:
    """It was dropped: every code was wrong."""
    f = File()
    x = image(f)
    total = f.node("Add", x, f.quantised(f.node("Neg", x), 0.03))
    with pytest.raises(ExportError, match=r"\(Add .*its input 'Add_\d+' is not quantised"):
        from_onnx(f.bytes(f.quantised(f.node("Add", total, f.constant(1.0, np.float32)))))


def test_a_constant_that_is_added_to_a_product_by_constants_is_not_lost() -> None:
    """It was dropped: nearly every code was wrong."""
    f = File()
    x = f.node("Add", f.node("Mul", image(f), channels(f, 4, 4, 1)), channels(f, 4))
    require_equal(f, f.quantised(x), largest=1)


def test_images_with_channels_last_are_not_moved() -> None:
    f = File()
    x = f.quantised(f.node("Transpose", f.input((1, 6, 5, 4)), perm=[0, 3, 1, 2]))
    data = f.bytes(f.node("Transpose", f.quantised(conv(f, x), 0.1), perm=[0, 2, 3, 1]))
    assert [type(node.op).__name__ for node in from_onnx(data).nodes] == ["Conv2D"]
    assert not differences(data, 3).any()


@pytest.mark.parametrize("odd", ["inputs", "nodes", "scale of one element", "batch"])
def test_constants_and_batches(odd: str) -> None:
    f = File(scale_shape=(1,) if odd == "scale of one element" else ())
    f.constants_as_nodes = odd == "nodes"
    x = f.quantised(f.input(("N", 4, 6, 5) if odd == "batch" else IMAGE))
    data = f.bytes(f.quantised(conv(f, x), 0.1), initializers_are_inputs=odd == "inputs")
    assert not differences(data, 3).any()


def test_ends_of_codes() -> None:
    """The input is of codes; one output is of codes, the other of the real numbers that they stand for."""
    f = File()
    x = f.node("DequantizeLinear", f.input(IMAGE, dtype=2), *f.stated(0.05, 3))
    stated = f.stated(0.1, 3)
    codes = f.node("QuantizeLinear", conv(f, x), *stated)
    assert not differences(f.bytes(codes, f.node("DequantizeLinear", codes, *stated)), 3).any()


def test_scales_of_half_precision() -> None:
    f = File(opset=19)
    f.real = np.float16
    require_equal(f, f.quantised(f.node("Relu", f.quantised(f.input(IMAGE, dtype=10)))))


def test_an_output_that_is_left_in_float_is_named_by_its_operator() -> None:
    """As ONNX Runtime's quantiser leaves a mean at the end of a network: it states no scale."""
    f = File()
    data = f.bytes(f.node("ReduceMean", image(f), axes=[2, 3]))
    with pytest.raises(ExportError, match=r"left in float by operator 2 \(ReduceMean\), so that its codes are not def"):
        from_onnx(data)


@pytest.mark.parametrize("kind", ["LayerNormalization", "LpNormalization", "ReduceL2", "Hardmax"])
def test_what_is_not_read_is_named(kind: str) -> None:
    f = File()
    more = [channels(f, 4)] if kind == "LayerNormalization" else []
    data = f.bytes(f.quantised(f.node(kind, image(f), *more)))
    with pytest.raises(ExportError, match=rf"operator 2 \({kind} .*: limit: {kind} is not supported"):
        from_onnx(data)


# Operators of codes


def contrib(f: File, kind: str, *inputs: str, **attributes: object) -> str:
    return f.node(kind, *inputs, domain="com.microsoft", **attributes)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("kind", "attributes", "largest"),
    [
        ("QLinearGlobalAveragePool", {"channels_last": 0}, 1),
        ("QLinearSigmoid", {}, 0),
        ("QLinearLeakyRelu", {"alpha": 0.2}, 0),
        ("QLinearSoftmax", {"axis": 1, "opset": 17}, 1),
        ("QLinearAveragePool", {"kernel_shape": [2, 2]}, 1),
        ("QLinearAdd", {}, 1),
        ("QLinearMul", {}, 1),
        ("QLinearConcat", {"axis": 1}, 0),
        ("QGemm", {"transB": 1}, 0),
    ],
)
def test_operators_of_codes(kind: str, attributes: dict[str, object], largest: int, dtype: str) -> None:
    f = File(dtype=dtype)
    s, o = f.stated(0.051, 3), f.stated(0.033, 1)
    x = f.node("QuantizeLinear", f.input(ROW if kind == "QGemm" else IMAGE), *s)
    t = f.stated(1 / 128, 0)
    if kind in ("QLinearAdd", "QLinearMul"):
        inputs = [x, *s, contrib(f, "QLinearSigmoid", x, *s, *t), *t, *o]
    elif kind == "QLinearConcat":
        inputs = [*o, x, *s, contrib(f, "QLinearSigmoid", x, *s, *t), *t]
    elif kind == "QGemm":
        weight = f.constant(f.rng.integers(-127, 128, (7, 10)), "int8")
        steps, zero = f.constant(f.rng.uniform(0.002, 0.01, 7), np.float32), f.constant(np.zeros(7), "int8")
        inputs = [x, *s, weight, steps, zero, f.constant(f.rng.integers(-2000, 2000, 7), np.int32), *o]
    else:
        inputs = [x, *s, *o]
    require_equal(f, f.node("DequantizeLinear", contrib(f, kind, *inputs, **attributes), *o), largest=largest)
