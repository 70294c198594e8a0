"""Counts of TFLite files of other makers; those of our own are in test_check.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.cost_tflite import tflite_layers
from runtime.cost import count
from tests.export.tflite_models import OPS, TYPES, Net


def test_float16_weights_are_counted_as_they_are_stored() -> None:
    """They stand behind a DEQUANTIZE, which is no layer of the network."""
    net = Net(np.random.default_rng(0), (8, 8, 2))
    stored, bias = net.constant(np.ones((6, 3, 3, 2), np.float16)), net.constant(np.ones(6, np.float32))
    weight = net.tensor("weight", (6, 3, 3, 2), TYPES.FLOAT32)
    net.operator(OPS.DEQUANTIZE, [stored], weight, schema.DequantizeOptionsT())
    options = schema.Conv2DOptionsT()
    height, width = net.window(options, net.input, (3, 3), (1, 1), "SAME", "NONE")
    output = net.edge("output", (1, height, width, 6), 1.0, 0)
    net.apply(OPS.CONV_2D, [net.input.index, weight, bias], output, options)
    cost = count(tflite_layers(net.finish(output), Path("half.tflite")), "dcase", source="")
    assert [layer.op for layer in cost.layers] == ["CONV_2D"]
    assert (cost.parameters, cost.macs) == (108 + 6, (108 + 6) * 64)
    assert cost.n_bytes == 2 * 108 + 4 * 6
