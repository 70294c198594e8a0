"""Float ONNX files as programs: ONNX Runtime is the judge, for one clip at a time and for several."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.training.models.own_networks import SHAPE, TINY
from tinyscene import command_line
from tinyscene.export.errors import ExportError
from tinyscene.export.float_onnx import onnx_network

pytestmark = pytest.mark.needs_module("onnxruntime")
IMAGE = (2, 8, 6)


def _answers(data: bytes, clips: Tensor) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: clip[None].numpy()})[0] for clip in clips])


@torch.no_grad()
def _check(data: bytes, shape: tuple[int, ...]) -> None:
    network, clips = onnx_network(data, "m.onnx"), torch.randn(3, *shape)
    np.testing.assert_allclose(network(clips).numpy(), _answers(data, clips), rtol=1e-4, atol=1e-4)


def _model(
    nodes: list[onnx.NodeProto], constants: dict[str, object], shape=IMAGE, opset=17, batch: object = 1
) -> bytes:
    """The nodes, from ``x`` to ``y``, with a flattening behind them."""
    ends = [helper.make_node("Flatten", ["y"], ["out"])]
    graph = helper.make_graph(
        [*nodes, *ends],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", "k"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9).SerializeToString()


def _node(kind: str, *inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [output], **attributes)


def _lstm(direction: str = "forward", *, batch: object = 1, read: str = "Y", **attributes: object) -> bytes:
    """Frames of 3 numbers, steps first, through LSTM cells of 2 units; outputs or last states, clips first."""
    count, rng = 2 if direction == "bidirectional" else 1, np.random.default_rng(1)
    sizes = {"w": (8, 3), "r": (8, 2), "b": (16,)}
    weights = {name: rng.normal(size=(count, *size)).astype(np.float32) for name, size in sizes.items()}
    states = {"h": np.zeros((count, 1, 2), np.float32), "c": np.full((count, 1, 2), float(read == "c"), np.float32)}
    node = helper.make_node(
        "LSTM",
        ["f", "w", "r", "b", "", "h", "c"],
        ["Y", "Y_h", "Y_c"],
        direction=direction,
        hidden_size=2,
        **attributes,
    )
    order = {"Y": [2, 0, 1, 3], "c": [2, 0, 1, 3]}.get(read, [1, 0, 2])
    ends = [
        _node("Transpose", "x", perm=[1, 0, 2], output="f"),
        _node("Transpose", read if read != "c" else "Y", perm=order),
    ]
    return _model([ends[0], node, ends[1]], weights | states, (4, 3), batch=batch)


RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
FORMS: dict[str, Callable[[], bytes]] = {
    "same, an odd zero behind": lambda: _model(
        [_node("Conv", "x", "w", auto_pad="SAME_UPPER", strides=[2, 2])], {"w": W}
    ),
    "same, an odd zero before": lambda: _model(
        [_node("Conv", "x", "w", auto_pad="SAME_LOWER", strides=[2, 2])], {"w": W}
    ),
    "unequal pads": lambda: _model([_node("Conv", "x", "w", pads=[0, 1, 2, 1], dilations=[2, 1])], {"w": W}),
    "groups with a bias": lambda: _model(
        [_node("Conv", "x", "w", "b", group=2)], {"w": W[:, :1], "b": np.arange(4, dtype=np.float32)}
    ),
    "sequence": lambda: _model([_node("Conv", "x", "w", pads=[1, 1])], {"w": W[:, :, 0]}, (2, 9)),
    "average with pads that count": lambda: _model(
        [_node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=1)], {}
    ),
    "average with pads that do not": lambda: _model(
        [_node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}
    ),
    "maximum": lambda: _model([_node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])], {}),
    "product with factors": lambda: _model(
        [_node("Flatten", "x", output="f"), _node("Gemm", "f", "w", "b", alpha=0.5, beta=2.0)],
        {"w": RNG.normal(size=(96, 3)).astype(np.float32), "b": np.float32([1.0])},
    ),
    "product of rows": lambda: _model([_node("MatMul", "x", "w")], {"w": RNG.normal(size=(6, 5)).astype(np.float32)}),
    "reshape with copied sizes": lambda: _model([_node("Reshape", "x", "s")], {"s": np.int64([0, 0, -1])}),
    "reshape of any batch": lambda: _model([_node("Reshape", "x", "s")], {"s": np.int64([-1, 16, 6])}, batch="n"),
    "reshape into the batch": lambda: _model(
        [_node("Reshape", "x", "s", output="r"), _node("Reshape", "r", "t")],
        {"s": np.int64([2, 1, 8, 6]), "t": np.int64([1, -1])},
    ),
    "squeeze": lambda: _model(
        [_node("ReduceMean", "x", axes=[2], output="m"), _node("Squeeze", "m", "a")], {"a": np.int64([-2])}
    ),
    "unsqueeze": lambda: _model([_node("Unsqueeze", "x", "a")], {"a": np.int64([-1, 1])}),
    "transpose": lambda: _model([_node("Transpose", "x", perm=[0, 2, 3, 1])], {}),
    "backward slice": lambda: _model(
        [_node("Slice", "x", "s", "e", "a", "t")],
        {"s": np.int64([-1, 1]), "e": np.int64([-100, 5]), "a": np.int64([2, 3]), "t": np.int64([-2, 2])},
    ),
    "backward slice to an end": lambda: _model(
        [_node("Slice", "x", "s", "e", "a", "t")],
        {"s": np.int64([6]), "e": np.int64([1]), "a": np.int64([2]), "t": np.int64([-2])},
    ),
    "split": lambda: _model(
        [helper.make_node("Split", ["x", "s"], ["a", "b"], axis=2), _node("Concat", "b", "a", axis=2)],
        {"s": np.int64([3, 5])},
    ),
    "split of equal parts": lambda: _model(
        [helper.make_node("Split", ["x"], ["a", "b"], axis=2), _node("Add", "a", "b")], {}
    ),
    "pad of some axes": lambda: _model(
        [_node("Pad", "x", "p", "", "a")], {"p": np.int64([1, 2]), "a": np.int64([-1])}, opset=18
    ),
    "shape arithmetic": lambda: _model(
        [
            _node("Shape", "x", output="s"),
            _node("Gather", "s", "i", output="c"),
            _node("Concat", "one", "c", "minus", axis=0, output="t"),
            _node("Reshape", "x", "t"),
        ],
        {"i": np.int64([1]), "one": np.int64([1]), "minus": np.int64([-1])},
    ),
    "constant first": lambda: _model([_node("Sub", "c", "x")], {"c": RNG.normal(size=(2, 1, 1)).astype(np.float32)}),
    "number first": lambda: _model([_node("Sub", "c", "x")], {"c": np.float32(3.0)}),
    "quotient by a constant": lambda: _model([_node("Div", "x", "c")], {"c": np.float32([[[2.0]], [[4.0]]])}),
    "gate": lambda: _model([_node("Sigmoid", "x", output="g"), _node("Mul", "g", "x")], {}),
    "hard gate": lambda: _model(
        [_node("HardSigmoid", "x", alpha=1 / 6, beta=0.5, output="g"), _node("Mul", "x", "g")], {}
    ),
    "another hard sigmoid": lambda: _model([_node("HardSigmoid", "x")], {}),
    "limits as attributes": lambda: _model([_node("Clip", "x", min=-0.5, max=0.75)], {}, opset=6),
    "one limit": lambda: _model([_node("Clip", "x", "", "h")], {"h": np.float32(0.5)}),
    "quotient of a constant": lambda: _model(
        [_node("Exp", "x", output="e"), _node("Div", "c", "e")], {"c": np.float32([[[2.0]], [[4.0]]])}
    ),
    "power": lambda: _model([_node("Pow", "x", "two")], {"two": np.float32(2.0)}),
    "mean over axes of an input": lambda: _model(
        [_node("ReduceMean", "x", "a", keepdims=0)], {"a": np.int64([1, -1])}, opset=18
    ),
    "maximum over an axis": lambda: _model([_node("ReduceMax", "x", axes=[1])], {}),
    "softmax": lambda: _model([_node("Softmax", "x", axis=1)], {}),
    "largest of an image": lambda: _model([_node("GlobalMaxPool", "x")], {}),
    "norm": lambda: _model([_node("ReduceL2", "x", axes=[2, 3])], {}),
    "layer norm": lambda: _model(
        [_node("LayerNormalization", "x", "w", "b")], {"w": W[0, 0, :2].ravel(), "b": W[1, 0, :2].ravel()}
    ),
    "larger of two": lambda: _model([_node("Neg", "x", output="n"), _node("Max", "x", "n")], {}),
    "smaller than a number": lambda: _model([_node("Min", "c", "x")], {"c": np.float32(0.25)}),
    "logarithm": lambda: _model([_node("Exp", "x", output="e"), _node("Log", "e")], {}),
    "mirrored pad": lambda: _model([_node("Pad", "x", "p", mode="reflect")], {"p": np.int64([0, 0, 1, 2, 0, 0, 2, 1])}),
    "repeated edge": lambda: _model([_node("Pad", "x", "p", mode="edge")], {"p": np.int64([0, 0, 1, 2, 0, 0, 2, 1])}),
    "mirrored rows": lambda: _model(
        [_node("Pad", "x", "p", mode="reflect")], {"p": np.int64([0, 2, 0, 0, 1, 0])}, (7, 3)
    ),
    "places": lambda: _model([_node("Gather", "x", "i", axis=2)], {"i": np.int64([3, -1, 0])}),
    "one place": lambda: _model([_node("Gather", "x", "i", axis=1)], {"i": np.int64(-1)}),
    "depth to space": lambda: _model([_node("DepthToSpace", "x", blocksize=2)], {}, (8, 3, 2)),
    "depth to space, columns first": lambda: _model(
        [_node("DepthToSpace", "x", blocksize=2, mode="CRD")], {}, (8, 3, 2)
    ),
    "space to depth": lambda: _model([_node("SpaceToDepth", "x", blocksize=2)], {}),
    "nearest": lambda: _model(
        [_node("Resize", "x", "", "s", coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        {"s": np.float32([1, 1, 2, 3])},
    ),
    "bilinear": lambda: _model([_node("Resize", "x", "", "", "n", mode="linear")], {"n": np.int64([1, 2, 16, 12])}),
    "expanded": lambda: _model(
        [_node("ReduceMean", "x", axes=[2], output="m"), _node("Expand", "m", "s")], {"s": np.int64([2, 5, 1])}
    ),
    "tiled": lambda: _model([_node("Tile", "x", "r")], {"r": np.int64([1, 1, 2, 1])}),
    "transposed": lambda: _model(
        [_node("ConvTranspose", "x", "w", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0])],
        {"w": W.swapaxes(0, 1)},
    ),
    "slopes": lambda: _model([_node("PRelu", "x", "c")], {"c": np.float32([[[0.1]], [[0.5]]])}),
    "two products": lambda: _model(
        [_node("Transpose", "x", perm=[0, 1, 3, 2], output="t"), _node("MatMul", "x", "t")], {}
    ),
    "elu": lambda: _model([_node("Elu", "x", alpha=0.5)], {}),
    "lstm": lambda: _lstm(batch="n"),
    "lstm from the last step": lambda: _lstm("reverse"),
    "lstm in two directions": lambda: _lstm("bidirectional"),
    "last states of an lstm": lambda: _lstm("bidirectional", read="Y_h"),
    "leaky": lambda: _model([_node("LeakyRelu", "x", alpha=0.3)], {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_operators(form: str) -> None:
    data = FORMS[form]()
    sizes = onnx.load_model_from_string(data).graph.input[0].type.tensor_type.shape.dim
    _check(data, tuple(size.dim_value for size in sizes[1:]))


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.gates = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding="same", groups=8), nn.Hardswish(), nn.Conv2d(8, 8, 1), nn.GELU()
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a, b = self.gates(x).chunk(2, 1)
        return self.head((torch.cat([b, a], 1) + x).mean((2, 3))).log_softmax(1)


def _exported(dynamo: bool) -> bytes:
    torch.manual_seed(0)
    model, file = _Net().eval(), io.BytesIO()
    nn.init.uniform_(model.stem[1].running_var, 0.5, 2.0)
    if dynamo:
        program = torch.onnx.export(
            model, (torch.zeros(2, *SHAPE),), dynamo=True, verbose=False, dynamic_shapes=({0: torch.export.Dim("n")},)
        )
        program.save(file)
    else:
        torch.onnx.export(model, (torch.zeros(1, *SHAPE),), file, dynamo=False, opset_version=13)
    return file.getvalue()


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_files_of_pytorch(dynamo: bool, tmp_path: Path) -> None:
    data = _exported(dynamo)
    _check(data, SHAPE)
    (tmp_path / "m.onnx").write_bytes(data)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY.to_json()))
    words = ["import", str(tmp_path / "m.onnx"), "--frontend", str(tmp_path / "tiny.json")]
    assert command_line.main(words) == 0
    assert command_line.main(["check", str(tmp_path / "m.pt")]) == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: _model([_node("Einsum", "x", equation="abcd->abdc")], {}), "limit: Einsum is not supported"),
        (lambda: _model([_node("Conv", "x", "x")], {}), "expected a constant"),
        (
            lambda: _model([_node("Pad", "x", "p", "v")], {"p": np.int64([0, 0, 1, 1] * 2), "v": np.float32(2)}),
            "expected zeros",
        ),
        (lambda: _model([_node("Resize", "x", "", "s", mode="cubic")], {"s": np.float32([1, 1, 2, 2])}), "resizing"),
        (
            lambda: _model(
                [_node("Resize", "x", "", "s", mode="linear", coordinate_transformation_mode="asymmetric")],
                {"s": np.float32([1, 1, 2, 2])},
            ),
            "other outputs than those of onnx's reference",
        ),
        (lambda: _model([_node("MaxPool", "x", kernel_shape=[2, 2], pads=[0, 0, 1, 1])], {}), "unequal pads"),
        (lambda: _model([_node("Conv", "x", "w")], {"w": W}, (2, "h", 6)), "sizes are not fixed"),
        (lambda: _model([_node("Relu", "x")], {}, batch=4), "a batch of 1 or any"),
        (lambda: _model([_node("Identity", "c")], {"c": np.float32([[1.0]])}), "is a constant"),
        (lambda: _model([_node("Squeeze", "x")], {}), "the batch is removed"),
        (
            lambda: _model(
                [_node("QuantizeLinear", "x", "s", output="q"), _node("DequantizeLinear", "q", "s")],
                {"s": np.float32(0.1)},
            ),
            "a quantised file",
        ),
        (lambda: _lstm(activations=["Sigmoid", "Relu", "Tanh"]), "expected ['Sigmoid', 'Tanh', 'Tanh']"),
        (lambda: _lstm(clip=1.0), "'clip' of an LSTM; expected none"),
        (lambda: _lstm(read="c"), "an LSTM with an initial state"),
        (lambda: _model([_node("GRU", "x", "w", "w", hidden_size=2)], {"w": W}), "limit: GRU is not supported"),
    ],
)
def test_refusals_name_the_operator(data: Callable[[], bytes], words: str) -> None:
    with pytest.raises(ExportError) as refused:
        onnx_network(data(), "m.onnx")
    assert words in str(refused.value)


def test_a_gate_is_one_function() -> None:
    network = onnx_network(FORMS["gate"](), "m.onnx")
    assert [call.kind for call in network.program.calls] == ["sigmoid", "silu", "reshape"]
