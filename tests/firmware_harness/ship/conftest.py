"""Fixtures of the tests of exported products: one small bundle, one build folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.firmware_harness.bundles import small_bundle
from tinyscene.runtime.bundle import Bundle, read_bundle


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(small_bundle(tmp_path_factory.mktemp("ship")))


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build")
