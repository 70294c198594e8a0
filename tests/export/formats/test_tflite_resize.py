"""Resizing, blocks and repetitions in TFLite files made elsewhere, and what one engine does not run of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.test_tflite_movement import options, read, require_equal
from tests.export.formats.tflite_models import Net
from tests.graphs import Builder
from tinyscene.export.errors import ExportError
from tinyscene.runtime import ops
from tinyscene.runtime.engines import TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure

pytestmark = pytest.mark.needs_module("tflite_micro")
SIZES = [((4, 5), (8, 10)), ((5, 7), (3, 4)), ((1, 4), (5, 1)), ((13, 9), (30, 31)), ((6, 6), (6, 9))]


@pytest.mark.parametrize("kind", ["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"])
@pytest.mark.parametrize("grid", ["asymmetric", "align_corners", "half_pixel"])
def test_resize(kind: str, grid: str) -> None:
    """Larger, smaller, by whole and broken factors, from and to one row."""
    name = {"RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor", "RESIZE_BILINEAR": "ResizeBilinear"}[kind]
    for size, other in SIZES:
        net = Net(np.random.default_rng(0), (*size, 3))
        made = options(name, alignCorners=grid == "align_corners", halfPixelCenters=grid == "half_pixel")
        model = read(net, net.view(kind, net.input, (1, *other, 3), list(other), options=made))
        assert [type(node.op) for node in model.graph.nodes] == [ops.Resize]
        require_equal(model)


BLOCKS: dict[str, tuple[str, tuple[int, ...], list[Any], Any]] = {
    "depth to space": ("DEPTH_TO_SPACE", (1, 8, 12, 3), [], options("DepthToSpace", blockSize=2)),
    "space to depth": ("SPACE_TO_DEPTH", (1, 2, 3, 48), [], options("SpaceToDepth", blockSize=2)),
    "tile": ("TILE", (1, 8, 6, 36), [[1, 2, 1, 3]], options("Tile")),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_and_repetitions(name: str) -> None:
    kind, shape, constants, made = BLOCKS[name]
    net = Net(np.random.default_rng(0), (4, 6, 12))
    model = read(net, net.view(kind, net.input, shape, *constants, options=made))
    require_equal(model, without_tflm=kind == "TILE")
    if kind == "TILE":
        with pytest.raises(RuntimeFailure, match=r"engine tflm, operator 0 \(TILE\).*no kernel of TILE"):
            TFLMEngine(model.graph, model.file("m.tflite"))


def test_broadcast_to() -> None:
    net = Net(np.random.default_rng(0), (1, 6, 1))
    out = net.view("BROADCAST_TO", net.input, (1, 4, 6, 5), [1, 4, 6, 5], options=options("BroadcastTo"))
    require_equal(read(net, out))


def test_both_grids_at_once_are_refused() -> None:
    net = Net(np.random.default_rng(0), (2, 2, 1))
    made = schema.ResizeBilinearOptionsT()
    made.alignCorners = made.halfPixelCenters = True
    with pytest.raises(ExportError, match="align_corners and half_pixel_centers"):
        read(net, net.view("RESIZE_BILINEAR", net.input, (1, 4, 4, 1), [4, 4], options=made))


def test_places_that_drift_beyond_the_input_are_refused() -> None:
    """TFLite's kernels would read behind the tensor there."""
    b = Builder(np.random.default_rng(0), "drift", (3, 1, 1))
    with pytest.raises(ValueError, match="reach 3, expected at most 2"):
        b.moved(ops.Resize("bilinear", (4096, 1), "align_corners"), b.input)
