"""One small bundle for tests of firmware: a network with GRN, a short front end, golden vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.graphs import random_input, small_net
from tinyscene.runtime.bundle import BundleContent, Golden, write_bundle
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.spec import preset

LABELS = tuple(f"scene_{i}" for i in range(10))
FRONTEND = replace(preset("cpm23"), name="small", n_mels=20, hop_length=2400, clip_samples=32_001)


def small_bundle(folder: Path, alter: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Write the bundle `scenes` into ``folder``, its expected activations changed by ``alter``; return its path."""
    graph = replace(small_net(np.random.default_rng(3), grn=True), labels=LABELS)
    codes = random_input(np.random.default_rng(4), graph, 3)
    golden = Golden.of(graph, codes)
    if alter:
        alter(golden.activations)
    path = folder / "scenes"
    provenance = Provenance("synthetic", {}, {"constant_channels_removed": 37})
    write_bundle(path, BundleContent(graph, FRONTEND, b"TFL3", b"onnx", golden), provenance)
    return path
