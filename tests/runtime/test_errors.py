"""The one form of message."""

from __future__ import annotations

import pytest

from tinyscene.runtime.errors import LONGEST_PART, TinysceneError


@pytest.mark.parametrize("part", ["where", "what", "expected", "got"])
def test_a_name_of_a_million_characters_is_cut_and_the_advice_stays(part: str) -> None:
    """Names come from files: a tensor's in a checkpoint, or a layer's in a model file."""
    texts = {"where": "model.pt", "what": "another network", "expected": "CP-Mobile", "got": "a tensor"}
    long = texts | {part: f"model.pt {'x' * 1_000_000} the end"}
    problem = TinysceneError(long["where"], long["what"], expected=long["expected"], got=long["got"], next_step="ask")
    assert len(str(problem)) < LONGEST_PART + 200
    assert str(problem).startswith("model.pt")
    assert str(problem).endswith("next: ask")
