"""Layers of a program are counted for one clip, on whatever axis the clips are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tinyscene.export.check.count_program import program_layers
from tinyscene.training.models.exported import program_network


class _Steps(nn.Module):
    """Two layers of LSTM cells in both directions, and a linear layer of each step."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 6, 2, batch_first=batch_first, bidirectional=True), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.lstm.batch_first:
            return self.head(self.lstm(x)[0])  # type: ignore[no-any-return]
        return self.head(self.lstm(x.transpose(0, 1))[0]).transpose(0, 1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("batch_first", [True, False])
def test_an_lstm_is_a_linear_layer_of_each_step(batch_first: bool) -> None:
    network = _Steps(batch_first=batch_first)
    program = program_network(network, (5, 8))
    lstm, head = program_layers(program).rows
    weights = sum(p.numel() for name, p in network.lstm.named_parameters() if name.startswith("weight"))
    assert (lstm.operator, lstm.layer.kind, lstm.inputs, lstm.shape) == ("lstm", "linear", ("x",), (5, 12))
    assert (lstm.layer.weights, lstm.layer.biases, lstm.layer.positions) == (weights, 2 * 2 * 2 * 24, 5)
    assert (head.inputs, head.shape, head.layer.positions) == ((lstm.name,), (5, 3), 5)
    for clips in (1, 3):
        x = torch.randn(clips, 5, 8)
        assert torch.allclose(program(x), network(x), atol=1e-6)
