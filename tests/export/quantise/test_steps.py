"""The declared lists of quantisation steps: their order, and the result that each step adds."""

from __future__ import annotations

import pytest

from tests.export.tiny import inputs, tiny_net
from tinyscene.export.quantise.steps import LOWER, POST_TRAINING, QUANTISATION_AWARE, Work, run_steps
from tinyscene.runtime.graph import LOG_MEL


def test_the_order_of_both_methods() -> None:
    first, last = ["fold", "equalise", "input range"], ["lower", "remove constants"]
    assert [step.name for step in POST_TRAINING] == [*first, "calibrate and round", *last]
    assert [step.name for step in QUANTISATION_AWARE] == [*first, "calibrate", "train", *last]
    assert all(step.summary.endswith(".") for step in (*POST_TRAINING, *QUANTISATION_AWARE))


def test_each_step_adds_its_result() -> None:
    work = Work(tiny_net(), {LOG_MEL: inputs(8)}, name="tiny", labels=tuple("abcde"))
    results = []
    for step in POST_TRAINING:
        work = step.apply(work)
        results.append((work.net is not None, work.graph is not None, work.pruned is not None))
    assert results == [*[(True, False, False)] * 4, (True, True, False), (True, True, True)]
    assert work.graph is not None
    assert work.pruned is not None
    assert (work.graph.name, work.graph.labels) == ("tiny", tuple("abcde"))
    assert work.pruned.graph.output == work.graph.output


def test_a_step_without_the_result_it_needs_fails() -> None:
    with pytest.raises(AssertionError, match="'fold' has not run"):
        run_steps([LOWER], Work(tiny_net(), {LOG_MEL: inputs(1)}))
