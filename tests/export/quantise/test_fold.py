"""Folding: the traced steps compute the network's function; layers without an integer form are refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.export.tiny import SHAPE, inputs, tiny_net
from tinyscene.export.errors import ExportError
from tinyscene.export.quantise.fake_quant import QuantNet
from tinyscene.export.quantise.float_steps import ConvStep, GrnStep, PoolStep
from tinyscene.export.quantise.fold import fold


@pytest.mark.parametrize("grn", [True, False])
@pytest.mark.parametrize("padding", ["same", "torch"])
def test_steps_compute_what_the_network_computes(grn: bool, padding: str) -> None:
    model = tiny_net(grn=grn, padding=padding)
    net = QuantNet(fold(model, SHAPE))
    net.round(False)
    x = inputs(3)
    with torch.no_grad():
        assert torch.allclose(net(x), model(x), atol=1e-5)


def test_norms_and_activations_go_into_the_steps_before_them() -> None:
    steps = fold(tiny_net(), SHAPE).steps
    convs = [s for s in steps if isinstance(s, ConvStep)]
    assert len(convs) == 2 + 6 * 3 + 1
    assert all(s.norm is not None for s in convs)
    assert sum(s.depthwise for s in convs) == 6
    assert all(s.relu for s in steps if isinstance(s, GrnStep))
    assert sum(isinstance(s, PoolStep) for s in steps) == 1


def test_the_float_network_is_not_changed() -> None:
    model = tiny_net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    net = QuantNet(fold(model, SHAPE))
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
        ((nn.Conv2d(1, 4, 3), nn.Sigmoid()), "Sigmoid has no integer form"),
        ((nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), "BatchNorm2d after a ReLU"),
        ((nn.Conv2d(1, 4, 3), nn.AvgPool2d(2)), "AvgPool2d has no integer form"),
        ((nn.Conv2d(1, 4, 3, dilation=2),), "dilation"),
        ((nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3, groups=2)), "grouped"),
        ((nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3, groups=4)), "channel multiplier"),
        ((nn.Conv2d(1, 4, 3, padding="same"),), "not explicit"),
        ((nn.BatchNorm2d(1),), "does not directly follow"),
    ],
)
def test_layers_without_an_integer_form_are_refused_by_name(layers: tuple[nn.Module, ...], named: str) -> None:
    with pytest.raises(ExportError, match=named):
        fold(_Then(*layers), SHAPE)
