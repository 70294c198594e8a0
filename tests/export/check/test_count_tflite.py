"""Counts of TFLite files of other converters; test_check.py has those of tinyscene."""

from __future__ import annotations

from pathlib import Path

from tests.export.formats.tflite_models import half_precision
from tinyscene.export.check.count_tflite import tflite_layers
from tinyscene.runtime.cost import count


def test_float16_weights_are_counted_as_they_are_stored() -> None:
    """A DEQUANTIZE converts them, which is not a layer of the network."""
    cost = count(tflite_layers(half_precision(), Path("half.tflite")), "dcase", source="")
    assert [layer.op for layer in cost.layers] == ["CONV_2D"]
    assert (cost.parameters, cost.macs) == (108 + 6, (108 + 6) * 64)
    assert cost.n_bytes == 2 * 108 + 4 * 6
