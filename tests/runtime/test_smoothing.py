"""Smoothing: the rule computed step by step, its properties, and equality with the firmware's C."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import small_net
from tests.runtime.listening import FRONTEND, RATE, noise
from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.run.audio import SceneFirmware
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.smoothing import SMOOTHED_HOPS, Smoother, Smoothing


def _random_scores(n, labels=5):
    return np.random.default_rng(3).dirichlet(np.full(labels, 0.5), n).astype(np.float32)


def test_the_first_hops_are_averaged_and_later_ones_decay():
    scores, smoother = _random_scores(30), Smoother(Smoothing(hops=4, margin=0.0))
    for n, one in enumerate(scores, start=1):
        smoother.add(one)
        if n <= 4:
            expected = scores[:n].mean(axis=0, dtype=np.float64)
        else:
            weights = 0.75 ** np.arange(n - 5, -1, -1) / 4
            expected = scores[:4].mean(axis=0, dtype=np.float64) * 0.75 ** (n - 4) + weights @ scores[4:n]
        assert np.allclose(smoother.scores, expected, atol=1e-6)
        assert smoother.scores.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("hops", "margin"), [(10, 0.1), (10, 0.0), (4, 0.3), (1, 0.0), (1, 0.5)])
def test_a_certain_change_of_scene_takes_the_documented_hops(hops, margin):
    smoother = Smoother(Smoothing(hops, margin))
    one, other = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    for _ in range(50):
        assert smoother.add(one) == 0
    expected = next(n for n in range(1, 100) if 1 - 2 * (1 - 1 / hops) ** n > margin)
    taken = next(n for n in range(1, 100) if smoother.add(other) == 1)
    assert taken == expected
    if (hops, margin) == (10, 0.1):
        assert taken == 8


def test_near_ties_do_not_change_the_label():
    smoother = Smoother(Smoothing(hops=2, margin=0.1))
    labels = {smoother.add(np.array([0.5 + s, 0.5 - s], np.float32)) for s in (0.01, -0.04, 0.04, -0.04, -0.04, 0.04)}
    assert labels == {0}


@pytest.mark.parametrize("values", [{"hops": 0}, {"margin": -0.1}, {"margin": 1.0}])
def test_invalid_settings_are_refused(values):
    with pytest.raises(RuntimeFailure, match="smoothing"):
        Smoothing(**values)


@pytest.mark.needs_tool("gcc")
def test_the_firmware_smooths_equally():
    """From the firmware's scores, its smoothed scores are reproduced bit for bit."""
    graph = small_net(np.random.default_rng(5), grn=False, shape=(FRONTEND.n_mels, FRONTEND.n_frames, 1))
    firmware = SceneFirmware(emit(graph), FRONTEND, HOST, "single", hop_samples=2 * FRONTEND.hop_length)
    hops = firmware.classify((noise(6, 6 * RATE) * 20_000).astype(np.int16))
    assert len(hops) > 2 * SMOOTHED_HOPS
    smoother = Smoother(Smoothing(margin=0.0))
    differences = 0
    for hop in hops:
        smoother.add(hop.scores)
        differences += int((smoother.scores != hop.smoothed).sum())
        assert int(np.argmax(smoother.scores)) == hop.smoothed_label
    assert differences == 0
