"""Fixtures: a small bundle and audio files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tests.graphs import random_input, small_net
from tests.runtime.listening import FRONTEND, LABELS, RATE
from tinyscene.runtime.bundle import BundleContent, Golden, write_bundle
from tinyscene.runtime.manifest import Provenance


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A bundle of a small random net with the TFLite and ONNX files written from its graph."""
    pytest.importorskip("onnx")
    pytest.importorskip("ai_edge_litert")
    from tinyscene.export.formats.onnx_write import to_onnx
    from tinyscene.runtime.tflite_write import to_tflite

    rng = np.random.default_rng(11)
    graph = small_net(rng, grn=False, shape=(FRONTEND.n_mels, FRONTEND.n_frames, 1))
    codes = random_input(rng, graph, 1)
    graph = replace(graph, labels=LABELS)
    content = BundleContent(graph, FRONTEND, to_tflite(graph), to_onnx(graph), Golden.of(graph, codes))
    return write_bundle(tmp_path_factory.mktemp("bundles") / "small", content, Provenance("none", {}))


@pytest.fixture
def clip(tmp_path):
    """Writes audio and returns the path."""

    def write(name, audio, rate=RATE, subtype="FLOAT"):
        path = tmp_path / name
        soundfile.write(path, audio, rate, subtype=subtype)
        return path

    return write


@pytest.fixture
def write():
    """Functions of export that write the files; imported late, since their packages may be missing."""
    from tinyscene.export.formats.onnx_write import to_onnx
    from tinyscene.runtime.tflite_write import to_tflite

    return to_tflite, to_onnx
