"""Wilson's interval and McNemar's test by their formulas, and the cases without clips."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyscene.training.statistics import mcnemar_p, wilson_interval

Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


@given(st.integers(1, 5000), st.floats(0, 1))
def test_wilson_interval_by_its_formula(clips: int, share: float) -> None:
    right = round(share * clips)
    p = right / clips
    centre = (p + Z95**2 / (2 * clips)) / (1 + Z95**2 / clips)
    reach = Z95 / (1 + Z95**2 / clips) * math.sqrt(p * (1 - p) / clips + Z95**2 / (4 * clips**2))
    low, high = wilson_interval(right, clips)
    assert (low, high) == pytest.approx((max(0, centre - reach), min(1, centre + reach)), abs=1e-9)
    assert 0 <= low <= p <= high <= 1


def test_without_clips_the_interval_is_all_of_0_to_1() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 50))
def test_mcnemar_by_its_formula(only_a: int, only_b: int, both: int) -> None:
    a = np.repeat([True, False, True], (only_a, only_b, both))
    b = np.repeat([False, True, True], (only_a, only_b, both))
    n, fewer = only_a + only_b, min(only_a, only_b)
    expected = min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)
    assert mcnemar_p(a, b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(a, b) == mcnemar_p(b, a)
