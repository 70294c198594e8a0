"""Values of the wrong type from a program that uses the library: refused by name, never converted into an answer."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import random_input, small_net
from tests.runtime.listening import RATE, noise
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.interpreter import run

HALF = noise(1, RATE).astype(np.float16)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [HALF, np.stack([HALF, HALF], axis=1)], ids=["mono", "stereo"])
def test_half_precision_samples_have_the_bounds_of_others(bundle, samples):
    classifier = SceneClassifier.open(bundle, "numpy-single")
    assert classifier.classify(samples, RATE).label == classifier.classify(samples.astype(np.float32), RATE).label
    for value in (np.inf, np.nan):
        broken = samples.copy()
        broken[5] = value
        for refuse in (classifier.classify, lambda frames, rate: classifier.stream(rate).push(frames)):
            with pytest.raises(RuntimeFailure, match="samples: sample 5 is not finite"):
                refuse(broken, RATE)


@pytest.mark.parametrize("samples", [[[0.1, 0.2], [0.3]], None, "clip.wav", {}], ids=["ragged", "none", "text", "dict"])
def test_what_is_no_array_of_samples_is_refused(bundle, samples):
    with pytest.raises(RuntimeFailure, match="samples: unsupported type or shape"):
        SceneClassifier.open(bundle, "numpy-single").classify(samples, RATE)


def test_a_file_is_named_by_text_or_by_a_path(bundle, clip):
    classifier, path = SceneClassifier.open(bundle, "numpy-single"), clip("a.wav", noise(2, RATE))
    (by_text,), (by_path,) = classifier.classify_file(str(path)), classifier.classify_file(path)
    assert by_text.scores == by_path.scores


@pytest.mark.parametrize("rounding", ["DOUBLE", "", None])
def test_a_rounding_rule_that_does_not_exist_is_no_other_rule(rounding):
    graph = small_net(np.random.default_rng(0), grn=False)
    with pytest.raises(RuntimeFailure, match="rounding: invalid value; expected double or single; got "):
        run(graph, random_input(np.random.default_rng(1), graph, 1), rounding=rounding)


@pytest.mark.parametrize("codes", [None, "codes", [[1, 2], [3]], [[[0]]]])
def test_codes_that_are_no_int8_array_are_refused(codes):
    with pytest.raises(RuntimeFailure, match=r"input: wrong shape or type; expected int8 \(batch, "):
        run(small_net(np.random.default_rng(0), grn=False), codes)
