"""Fixtures of the tests of exported products: small bundles, one build folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.firmware_harness.bundles import (
    INTEGER_FRONTEND,
    image_network,
    network_alone,
    small_bundle,
    two_ended_network,
)
from tinyscene.runtime.bundle import Bundle, read_bundle


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(small_bundle(tmp_path_factory.mktemp("ship")))


@pytest.fixture(scope="session")
def integer_scenes(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same network behind a log-mel in integers."""
    return read_bundle(small_bundle(tmp_path_factory.mktemp("integer"), frontend=INTEGER_FRONTEND))


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Networks without a front end, by name."""
    folder = tmp_path_factory.mktemp("alone")
    return {graph.name: network_alone(folder, graph) for graph in (image_network(), two_ended_network())}


@pytest.fixture(params=["scenes", "image", "two"])
def any_model(request: pytest.FixtureRequest, scenes: Bundle, alone: dict[str, Bundle]) -> Bundle:
    return scenes if request.param == "scenes" else alone[request.param]
