"""The examples in the docstrings of `runtime` print what they say."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest


@pytest.mark.parametrize("module", ["tinyscene.runtime.classify", "tinyscene.runtime.smoothing"])
def test_examples(module, bundle):
    found = doctest.testmod(importlib.import_module(module), extraglobs={"bundle": bundle.path, "np": np})
    assert found.attempted > 2
    assert found.failed == 0
