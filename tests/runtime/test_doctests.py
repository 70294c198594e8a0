"""The examples in the docstrings of `runtime` are correct."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest


@pytest.mark.parametrize("module", ["tinyscene.runtime.classify", "tinyscene.runtime.smoothing"])
def test_examples(module, bundle):
    results = doctest.testmod(importlib.import_module(module), extraglobs={"bundle": bundle.path, "np": np})
    assert results.attempted > 2
    assert results.failed == 0
