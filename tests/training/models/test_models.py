"""Networks: published logits, parameter and MAC counts, and TFLite's padding arithmetic."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from tests.training.models.golden_weights import GOLDEN, golden_input, golden_shapes, golden_state
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import MODELS, ModelConfig, named_config, parameter_count
from tinyscene.training.models.layers import GRN, AvgPool3x3, ConvPadded, pads_along
from tinyscene.training.models.passt import MAX_FRAMES, PaSST, load_audioset

# name -> (frames, parameters, MACs with BatchNorm as its own layer)
COUNTS = {
    "cpm23-8": (64, 6_086, 1_460_952),
    "cpm23-16": (64, 12_892, 4_129_932),
    "cpm23-24": (64, 31_058, 9_291_632),
    "cpm23-32s": (64, 55_464, 16_339_460),
    "cpm23-32m": (64, 61_160, 17_050_260),
    "cpm23-32l": (64, 126_952, 28_893_268),
    "dcase25": (65, 61_148, 29_419_156),
    "cpresnet-128k": (43, 127_684, 28_840_396),
}


def counted(model: nn.Module, frames: int) -> dict[str, tuple[int, int]]:
    """Parameters and MACs per layer, by hand: convolutions per output position, BatchNorm once."""
    costs: dict[str, tuple[int, int]] = {}

    def note(name: str):
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            parameters = sum(p.numel() for p in module.parameters())
            places = output.shape[2] * output.shape[3] if isinstance(module, nn.Conv2d) else 1
            costs[name] = (parameters, parameters * places)

        return hook

    handles = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
    ]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 1, 256, frames))
    for handle in handles:
        handle.remove()
    return costs


@pytest.mark.parametrize("name", GOLDEN)
def test_logits_and_names_match_the_published_network(name: str, shared_data: Path) -> None:
    ours, seed, mels, frames = GOLDEN[name]
    model = build_model(named_config(ours)).eval()
    assert {n: list(t.shape) for n, t in model.state_dict().items()} == golden_shapes(shared_data / "golden", name)
    model.load_state_dict(golden_state(model.state_dict()))
    with np.load(shared_data / "golden" / f"{name}.npz") as golden, torch.no_grad():
        x = golden_input(seed, mels, frames)
        np.testing.assert_allclose(model(x).numpy(), golden["logits"], atol=1e-4, rtol=0)
        if isinstance(model, PaSST):
            np.testing.assert_allclose(model.features(x).numpy(), golden["features"], atol=1e-4, rtol=0)


def test_stages_of_cp_resnet(shared_data: Path) -> None:
    model = build_model(named_config("cpresnet-128k")).eval()
    model.load_state_dict(golden_state(model.state_dict()))
    x = model.in_c(golden_input(8, 256, 43))
    with np.load(shared_data / "golden" / "cpresnet_128k.npz") as golden:
        for stage in ("stage1", "stage2", "stage3"):
            x = getattr(model, stage)(x)
            np.testing.assert_allclose(x.detach().numpy(), golden[stage], atol=1e-3)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_macs(name: str) -> None:
    torchinfo = pytest.importorskip("torchinfo")
    frames, parameters, macs = COUNTS[name]
    model = build_model(named_config(name))
    layers = counted(model, frames)
    assert parameter_count(model) == parameters
    assert sum(m for _, m in layers.values()) == macs
    summary = torchinfo.summary(model, input_size=(1, 1, 256, frames), verbose=0)
    assert (summary.total_params, summary.total_mult_adds) == (parameters, macs)


def test_layers_of_dcase25() -> None:
    layers = counted(build_model(named_config("dcase25")), 65)

    def pair(*names: str) -> tuple[int, int]:
        rows = [layers[name] for name in names]
        return sum(p for p, _ in rows), sum(m for _, m in rows)

    def conv_norm(prefix: str) -> tuple[int, int]:
        return pair(f"{prefix}.0", f"{prefix}.1")

    assert conv_norm("in_c.0") == (88, 304_144)
    assert conv_norm("in_c.1") == (2_368, 2_506_816)
    assert conv_norm("stages.s1.b1.block.0") == (2_176, 2_228_352)
    assert conv_norm("stages.s1.b1.block.1") == (704, 626_816)
    assert conv_norm("stages.s1.b1.block.2") == (2_112, 2_228_288)
    assert conv_norm("stages.s1.b3.block.1") == (704, 331_904)
    assert conv_norm("stages.s3.b6.block.2") == (12_688, 3_594_448)
    assert layers["feed_forward.0"] == (1_040, 299_520)
    assert layers["feed_forward.1"] == (20, 20)


@given(size=st.integers(1, 40), kernel=st.sampled_from([1, 3, 5]), stride=st.integers(1, 3))
def test_same_padding_gives_ceil_and_an_odd_zero_after(size: int, kernel: int, stride: int) -> None:
    front, back = pads_along(size, kernel, stride, "same")
    assert back - front in (0, 1)
    outputs = (size + front + back - kernel) // stride + 1
    assert outputs == -(-size // stride)
    if front + back:  # and not one zero more than needed
        assert (size + front + back - 1 - kernel) // stride + 1 < outputs


@pytest.mark.parametrize("padding", ["torch", "same"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1), (1, 2)])
def test_padded_layers_against_plain_sums(padding: str, stride: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = ConvPadded(2, 2, 3, stride, groups=2, padding=padding)
    pool = AvgPool3x3(stride, padding)
    x = torch.randn(1, 2, 6, 7)
    assert conv.pads(6, 7) == pool.pads(6, 7)
    top, left, bottom, right = conv.pads(6, 7)
    padded = np.pad(x[0].numpy(), ((0, 0), (top, bottom), (left, right)))
    for layer, weight in ((conv, conv.weight.detach().numpy()[:, 0]), (pool, np.full((2, 3, 3), 1 / 9))):
        out = layer(x).detach().numpy()[0]
        for c, i, j in np.ndindex(*out.shape):
            window = padded[c, i * stride[0] : i * stride[0] + 3, j * stride[1] : j * stride[1] + 3]
            assert out[c, i, j] == pytest.approx(float((window * weight[c]).sum()), abs=1e-5)


def test_torch_padding_matches_pytorch() -> None:
    torch.manual_seed(0)
    conv, x = ConvPadded(3, 4, 3, 2, padding="torch"), torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, stride=2, padding=1))
    torch.testing.assert_close(AvgPool3x3(2, "torch")(x), F.avg_pool2d(x, 3, 2, 1, count_include_pad=True))


def test_grn_by_its_definition() -> None:
    layer = GRN()
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(layer(x), x)
    nn.init.constant_(layer.gamma, 0.7)
    nn.init.constant_(layer.beta, -0.2)
    for clip, got in zip(x, layer(x), strict=True):
        norms = [float((channel**2).sum() ** 0.5) for channel in clip]
        mean = sum(norms) / len(norms)
        for channel, norm, result in zip(clip, norms, got, strict=True):
            torch.testing.assert_close(result, 0.7 * channel * norm / (mean + 1e-6) - 0.2 + channel)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "passt-s"])  # 0.3 GB, tested above
def test_config_round_trip(name: str) -> None:
    config = named_config(name, n_classes=7, padding="same")
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    model = build_model(config).eval()
    with torch.no_grad():
        mels, frames = (128, 100) if config.arch == "passt" else (256, 64)
        assert model(torch.zeros(1, 1, mels, frames)).shape == (1, 7)


def test_patchout_drops_rows_in_training_only() -> None:
    model = build_model(named_config("passt-tiny"))
    tokens: list[int] = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: tokens.append(args[0].shape[1]))
    x = torch.randn(2, 1, 128, 100)
    model(x)
    model.eval()
    assert torch.equal(model(x), model(x))
    assert tokens == [2 + 6 * 9, 2 + 12 * 9, 2 + 12 * 9]


def test_patches_have_positions_in_time_and_frequency() -> None:
    model = build_model(named_config("passt-tiny")).eval()
    x = torch.zeros(1, 1, 128, 100)
    low, high, late = x.clone(), x.clone(), x.clone()
    low[:, :, 0:10, 40:50], high[:, :, 110:120, 40:50], late[:, :, 0:10, 70:80] = 5, 5, 5
    answers = [model(v) for v in (low, high, late)]
    assert all(not torch.allclose(a, b, atol=1e-6) for a, b in itertools.combinations(answers, 2))


def test_audioset_weights_are_loaded_strictly_by_name() -> None:
    torch.manual_seed(1)
    published = build_model(named_config("passt-tiny", n_classes=527)).state_dict()
    model = build_model(named_config("passt-tiny"))
    head = model.head[1].weight.detach().clone()
    load_audioset(model, published, "x.pt")
    assert torch.equal(model.head[1].weight, head)
    rest = [name for name in published if not name.startswith(("head.1.", "head_dist."))]
    assert all(torch.equal(model.state_dict()[name], published[name]) for name in rest)
    untouched = build_model(named_config("passt-tiny"))
    before = {name: t.clone() for name, t in untouched.state_dict().items()}
    for change, says in (
        ({"blocks.2.norm1.bias": torch.zeros(48)}, "blocks.2.norm1.bias' does not belong to PaSST"),
        ({"norm.weight": None}, "norm.weight' is missing"),
        ({"time_new_pos_embed": torch.zeros(1, 48, 1, 98)}, "another shape"),
    ):
        state = {n: t for n, t in {**published, **change}.items() if t is not None}
        with pytest.raises(TrainingError, match=says):
            load_audioset(untouched, state, "x.pt")
        assert all(torch.equal(t, before[n]) for n, t in untouched.state_dict().items())
    with pytest.raises(TrainingError, match="unsupported log-mel size"):
        model(torch.zeros(1, 1, 128, MAX_FRAMES + 1))


def test_refusals() -> None:
    with pytest.raises(TrainingError, match="cpm23-8"):
        named_config("cpm24")
    for strides, says in (({"b9": (2, 2)}, "b9"), ({"b2": (0, 2)}, "is not in 1 to 64")):
        with pytest.raises(ValidationError, match=says):
            ModelConfig(arch="cp_mobile", strides=strides)
    with pytest.raises(ValidationError):
        ModelConfig(arch="cp_mobile", bass_channels=3)  # type: ignore[call-arg]
