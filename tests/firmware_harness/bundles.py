"""Small bundles for tests of firmware: a network with GRN and a short front end; networks without a front end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.graphs import Builder, random_input, small_net
from tinyscene.runtime.bundle import Bundle, BundleContent, Golden, write_bundle
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.spec import FrontendSpec, preset

LABELS = tuple(f"scene_{i}" for i in range(10))
FRONTEND = replace(preset("cpm23"), name="small", n_mels=20, hop_length=2400, clip_samples=32_001)
INTEGER_FRONTEND = replace(FRONTEND, arithmetic="integer")


def small_bundle(
    folder: Path, alter: Callable[[dict[str, Any]], None] | None = None, frontend: FrontendSpec = FRONTEND
) -> Path:
    """Write the bundle `scenes` into ``folder``, its expected activations changed by ``alter``; return its path."""
    graph = replace(small_net(np.random.default_rng(3), grn=True), labels=LABELS)
    codes = random_input(np.random.default_rng(4), graph, 3)
    golden = Golden.of(graph, codes)
    if alter:
        alter(golden.activations)
    path = folder / "scenes"
    provenance = Provenance("synthetic", {}, {"constant_channels_removed": 37})
    write_bundle(path, BundleContent(graph, frontend, b"TFL3", b"onnx", golden), provenance)
    return path


def image_network() -> Graph:
    """An image as input and as output, so that the output is no row of scores."""
    b = Builder(np.random.default_rng(7), "image", (9, 8, 3))
    return b.graph(b.conv(b.conv(b.input, (3, 3), channels=6), (1, 1), channels=2))


def two_ended_network() -> Graph:
    """Two inputs and two outputs of different shapes."""
    b = Builder(np.random.default_rng(5), "two", (6, 5, 3))
    features = b.mul(b.input, b.mean(b.conv(b.new_input("other", (3, 2, 4)), (1, 1), channels=3)))
    return b.graph(b.mean(features, keep_dims=False), features)


def network_alone(folder: Path, graph: Graph) -> Bundle:
    """The bundle of a network without a front end."""
    golden = Golden.of(graph, random_input(np.random.default_rng(4), graph, 2))
    content = BundleContent(graph, None, b"TFL3", b"onnx", golden)
    return write_bundle(folder / graph.name, content, Provenance("synthetic", {}))
