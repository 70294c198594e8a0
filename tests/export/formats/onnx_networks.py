"""Small PyTorch networks as ONNX files, quantised by ONNX Runtime's quantiser: what users bring."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from tinyscene.runtime.engines import ORT_SESSION_CONFIG
from tinyscene.runtime.onnx_tensors import OnnxCodes


class Residual(nn.Module):
    def __init__(self, channels: int, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels), nn.BatchNorm2d(channels), activation(),
            nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels),
        )  # fmt: skip
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(x + self.body(x))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


class Branches(nn.Module):
    """Two branches, joined and then mixed over time."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 6, (1, 3), padding=(0, 1)), nn.Conv2d(8, 6, (3, 1), padding=(1, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.relu(self.a(x)), torch.relu(self.b(x))], dim=1)


class Attention(nn.Module):
    """One head over the elements of an image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part(x).flatten(2) for part in (self.q, self.k, self.v))
        mixed = torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v
        return mixed.reshape(x.shape)


class Shuffle(nn.Module):
    """Halves of the channels, one padded in time and shortened again, interleaved."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=1)
        b = nn.functional.pad(b, (1, 2))[..., :-3]
        n, c, h, w = a.shape
        return torch.stack([a, b], dim=2).reshape(n, 2 * c, h, w)


def stem(channels: int = 8, **options: object) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, channels, 3, stride=2, padding=1, **options), nn.BatchNorm2d(channels), nn.ReLU())


def head(channels: int = 8, classes: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


IMAGE = (1, 1, 16, 12)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (lambda: nn.Sequential(stem(), Residual(8), Residual(8), head()), IMAGE),
    "hard swish": (lambda: nn.Sequential(stem(), Residual(8, nn.Hardswish), head()), IMAGE),
    "silu": (lambda: nn.Sequential(stem(), Residual(8, nn.SiLU), head()), IMAGE),
    "leaky": (lambda: nn.Sequential(stem(), Residual(8, nn.LeakyReLU), head()), IMAGE),
    "relu6": (lambda: nn.Sequential(stem(), Residual(8, nn.ReLU6), head()), IMAGE),
    "squeeze": (lambda: nn.Sequential(stem(), SqueezeExcite(8), head()), IMAGE),
    "branches": (lambda: nn.Sequential(stem(), Branches(), nn.MaxPool2d(2), head(12)), IMAGE),
    "dilated": (lambda: nn.Sequential(stem(), nn.Conv2d(8, 8, 3, 1, 2, 2, groups=2), nn.ReLU(), head()), IMAGE),
    "pools": (lambda: nn.Sequential(stem(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), head()), IMAGE),
    "rows": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=8),
            nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3),
        ),
        (1, 4, 40),
    ),
    "dense": (
        lambda: nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)),
        (1, 20),
    ),
    "transposed": (
        lambda: nn.Sequential(stem(), nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), nn.ReLU(), head(4)), IMAGE,
    ),
    "attention": (lambda: nn.Sequential(stem(), Attention(8), head()), IMAGE),
    "shuffle": (lambda: nn.Sequential(stem(), Shuffle(), head()), IMAGE),
    "resized": (
        lambda: nn.Sequential(stem(), nn.Upsample(scale_factor=2), nn.Upsample((5, 9), mode="bilinear"), head()), IMAGE,
    ),
    "softmax": (lambda: nn.Sequential(stem(), head(), nn.Softmax(dim=1)), IMAGE),
}  # fmt: skip


class _Clips(CalibrationDataReader):
    def __init__(self, shapes: dict[str, tuple[int, ...]], count: int = 16) -> None:
        rng = np.random.default_rng(0)
        clips = [{name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()} for _ in range(count)]
        self._clips = iter(clips)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._clips, None)


def float_onnx(make: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> bytes:
    """The network with random weights and BatchNorm statistics as a float ONNX file, with an input of each shape."""
    torch.manual_seed(1)
    module = make()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
            part.weight.data.uniform_(0.5, 2)
            part.bias.data.normal_(0, 0.3)
    file = io.BytesIO()
    zeros, names = tuple(map(torch.zeros, shapes)), ["x", "y", "z"][: len(shapes)]
    torch.onnx.export(module.eval(), zeros, file, dynamo=False, input_names=names, opset_version=17)
    return file.getvalue()


def quantised_onnx(
    data: bytes,
    *,
    activations: str = "QUInt8",
    weights: str = "QInt8",
    per_channel: bool = True,
    form: str = "QDQ",
    prepared: bool = True,
    **extra: object,
) -> bytes:
    """A float ONNX file quantised by ONNX Runtime on random clips; ``prepared``: BatchNorms are folded before."""
    sources = onnx.load_from_string(data).graph.input
    shapes = {each.name: tuple(dim.dim_value for dim in each.type.tensor_type.shape.dim) for each in sources}
    with tempfile.TemporaryDirectory() as folder:
        first, second, third = (Path(folder) / f"{at}.onnx" for at in range(3))
        first.write_bytes(data)
        if prepared:
            quant_pre_process(first, second, skip_symbolic_shape=True)
        quantize_static(
            second if prepared else first,
            third,
            _Clips(shapes),
            quant_format=QuantFormat[form],
            activation_type=QuantType[activations],
            weight_type=QuantType[weights],
            per_channel=per_channel,
            extra_options=extra,
        )
        return third.read_bytes()


def run_onnx(data: bytes, x: np.ndarray, codes: OnnxCodes) -> np.ndarray:
    """ONNX Runtime's answer to a float input of batch 1."""
    (output,) = run_several(data, [x], codes)
    return output


def run_several(data: bytes, inputs: list[np.ndarray], codes: OnnxCodes) -> list[np.ndarray]:
    """ONNX Runtime's answers to float inputs of batch 1."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(ORT_SESSION_CONFIG[codes], "1")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    outputs: list[np.ndarray] = session.run(None, dict(zip(names, inputs, strict=True)))
    return outputs
