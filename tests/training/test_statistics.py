"""Intervals and McNemar's test against their definitions and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tinyscene.training.statistics import mcnemar_p, wilson_interval


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_is_wilsons(clips: int, share: float) -> None:
    right = round(share * clips)
    low, high = wilson_interval(right, clips)
    wanted = stats.binomtest(right, clips).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    assert 0 <= low <= right / clips <= high <= 1


def test_nothing_measured_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 50))
def test_mcnemar_is_a_binomial_test_of_the_clips_that_tell(only_a: int, only_b: int, both: int) -> None:
    a = np.repeat([True, False, True], (only_a, only_b, both))
    b = np.repeat([False, True, True], (only_a, only_b, both))
    wanted = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p(a, b) == pytest.approx(wanted, rel=1e-9)
    assert mcnemar_p(a, b) == mcnemar_p(b, a)
