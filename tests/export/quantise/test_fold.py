"""Folding: the traced steps compute the network's function; layers without an integer form are refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.export.tiny import SHAPES, inputs, tiny_net
from tinyscene.export.errors import ExportError
from tinyscene.export.quantise.fake_quant import QuantNet
from tinyscene.export.quantise.float_steps import ConvStep, GrnStep, PoolStep
from tinyscene.export.quantise.fold import fold
from tinyscene.export.quantise.steps import POST_TRAINING, Work, run_steps
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.training.errors import TrainingError


@pytest.mark.parametrize("grn", [True, False])
@pytest.mark.parametrize("padding", ["same", "torch"])
def test_steps_compute_what_the_network_computes(grn: bool, padding: str) -> None:
    model = tiny_net(grn=grn, padding=padding)
    net = QuantNet(fold(model, SHAPES))
    net.round(False)
    x = inputs(3)
    with torch.no_grad():
        assert torch.allclose(net(x), model(x), atol=1e-5)


def test_norms_and_activations_go_into_the_steps_before_them() -> None:
    steps = fold(tiny_net(), SHAPES).steps
    convs = [s for s in steps if isinstance(s, ConvStep)]
    assert len(convs) == 2 + 6 * 3 + 1
    assert all(s.norm is not None for s in convs)
    assert sum(s.depthwise for s in convs) == 6
    assert all(s.relu for s in steps if isinstance(s, GrnStep))
    assert sum(isinstance(s, PoolStep) for s in steps) == 1


def test_the_float_network_is_not_changed() -> None:
    model = tiny_net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    net = QuantNet(fold(model, SHAPES))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1.0)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


class _Then(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ((nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, dilation=2)), "'layers.1': max pool with dilation"),
        ((nn.Conv2d(1, 4, 3), nn.AdaptiveMaxPool2d(4)), "'layers.1': adaptive maximum of \\(30, 14\\) to \\(4, 4\\)"),
    ],
)
def test_layers_without_an_integer_form_are_refused_by_name(layers: tuple[nn.Module, ...], named: str) -> None:
    with pytest.raises(ExportError, match=named):
        fold(_Then(*layers), SHAPES)


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.conv(x), x


class _Constant(_Pair):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.conv(x), self.conv.weight * 2


class _Ends(_Pair):
    """A reduction with other readers, one tensor twice, and the input, as outputs."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.conv(x)
        mean = y.mean((2, 3), keepdim=True)
        return mean, mean.flatten(1), y, y.transpose(2, 3).transpose(2, 3), x


class _Branch(_Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.sum() > 0 else x


class _Cumulated(_Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).cumsum(3)


class _Places(_Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return y.max(3).values * y.max(3).indices


class _Masked(_Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return nn.functional.scaled_dot_product_attention(y, y, y, attn_mask=y @ y.mT)


class _Rounded(_Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return torch.div(y, y.amax(1, keepdim=True), rounding_mode="floor")


class _Mixed(_Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).transpose(0, 1)


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (_Constant, "an output does not depend on an input"),
        (_Branch, "torch.export cannot export it"),
        (_Cumulated, "operator 'cumsum' has no integer form"),
        (_Places, "places of the largest or smallest elements are read"),
        (_Masked, "attention with a mask that is computed from the input"),
        (_Rounded, "a quotient that is rounded"),
        (_Mixed, "one batch entry move to another"),
    ],
)
def test_networks_without_steps_are_refused(module: type[nn.Module], named: str) -> None:
    with pytest.raises((ExportError, TrainingError), match=named):
        fold(module(), SHAPES)


@torch.no_grad()
def test_each_output_is_a_tensor_of_its_own() -> None:
    torch.manual_seed(0)
    model, x = _Ends().eval(), inputs(3)
    net = QuantNet(fold(model, SHAPES))
    names = net.folded.output_names
    assert len(set(names)) == 5
    assert not set(names) & set(net.folded.input_names)
    net.round(False)
    activations = net.activations(x)
    for name, expected in zip(names, model(x), strict=True):
        torch.testing.assert_close(activations[name].reshape(expected.shape), expected)
    graph = run_steps(POST_TRAINING, Work(model, {LOG_MEL: x})).graph
    assert graph is not None
    assert graph.outputs == names
