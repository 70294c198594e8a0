"""One small bundle for all tests of exports: every op, a short front end, recorded answers under both rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.firmware_harness.commands.test_firmware import _bundle
from tinyscene.runtime.bundle import Bundle, read_bundle


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(_bundle(tmp_path_factory.mktemp("ship")))


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build")
