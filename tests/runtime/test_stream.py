"""Continuous audio: events for any pieces, each column once, gaps, silence, latency, threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.listening import FRONTEND, LABELS, RATE, noise
from tinyscene.runtime.arrays import INT16_FULL_SCALE
from tinyscene.runtime.audio import resample
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.smoothing import Smoother, Smoothing
from tinyscene.runtime.stream import Gap

NONE = Smoothing(hops=1, margin=0.0)
OVERLAP_S = 2 * FRONTEND.hop_length / RATE


@pytest.fixture(scope="module")
def classifier(bundle):
    return SceneClassifier.open(bundle, "litert")


def _events(classifier, audio, *, rate_hz=RATE, hop_s=None, smoothing=None, chunk=None):
    stream = classifier.stream(rate_hz, hop_s, smoothing)
    pieces = [audio] if chunk is None else [audio[at : at + chunk] for at in range(0, len(audio), chunk)]
    return list(stream.events(pieces)), stream


def test_clips_without_overlap_equal_the_offline_result(classifier):
    audio = noise(1, 5 * RATE)
    events, stream = _events(classifier, audio, smoothing=NONE, chunk=777)
    hops = classifier.classify(audio, RATE).hops
    assert [event.scores for event in events] == [hop.scores for hop in hops]
    assert [event.label for event in events] == [hop.label for hop in hops]
    assert [event.time_s for event in events] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert stream.health.columns == 5 * FRONTEND.n_frames


def test_overlapping_clips_are_parts_of_one_long_log_mel(classifier):
    audio = noise(2, 4 * RATE)
    events, stream = _events(classifier, audio, hop_s=OVERLAP_S, smoothing=NONE, chunk=1000)
    columns = classifier.log_mel.stream().push(audio)
    expected = [
        tuple(classifier.scores(columns[:, at : at + FRONTEND.n_frames]).tolist())
        for at in range(0, columns.shape[1] - FRONTEND.n_frames + 1, 2)
    ]
    assert [event.scores for event in events] == expected
    assert events[0].time_s == stream.first_event_s
    assert np.allclose(np.diff([event.time_s for event in events]), OVERLAP_S)
    assert len({event.scores for event in events}) > len(events) // 2


@pytest.mark.parametrize("hop_s", [None, OVERLAP_S])
def test_work_per_second_of_audio_does_not_depend_on_the_hop(classifier, hop_s):
    """Each column is computed once: their number depends on the length of the audio only."""
    _, stream = _events(classifier, noise(3, 20 * RATE), hop_s=hop_s, chunk=5000)
    per_second = stream.health.columns / 20
    assert per_second == pytest.approx(RATE / FRONTEND.hop_length, rel=0.06)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 70_000), max_size=12),
    hop_s=st.sampled_from([None, OVERLAP_S]),
    rate_hz=st.sampled_from([RATE, 44_100, 8000]),
)
def test_events_do_not_depend_on_the_pieces(classifier, cuts, hop_s, rate_hz):
    audio = noise(4, 70_000)
    whole, _ = _events(classifier, audio, rate_hz=rate_hz, hop_s=hop_s)
    stream = classifier.stream(rate_hz, hop_s)
    assert list(stream.events(np.split(audio, sorted(cuts)))) == whole
    assert whole


def test_int16_and_several_channels_are_accepted(classifier):
    audio = noise(5, 2 * RATE)
    integers = (audio * 20_000).astype(np.int16)
    stereo = np.stack([integers, integers], axis=1)
    as_floats, _ = _events(classifier, integers.astype(np.float64) / INT16_FULL_SCALE)
    assert _events(classifier, integers)[0] == as_floats
    assert _events(classifier, stereo)[0] == as_floats


def test_a_resampled_stream_equals_the_resampled_recording(classifier):
    audio = noise(6, 3 * 48_000)
    events, _ = _events(classifier, audio, rate_hz=48_000, smoothing=NONE, chunk=480)
    hops = classifier.classify(resample(audio, 48_000, RATE), RATE).hops
    assert [event.label for event in events] == [hop.label for hop in hops]
    assert np.allclose([event.scores for event in events], [hop.scores for hop in hops], atol=1e-4)


@pytest.mark.parametrize("hop_s", [None, OVERLAP_S])
def test_an_event_is_returned_with_the_last_sample_it_needs(classifier, hop_s):
    """Latency: no event before that sample, and at most one hop from a sample to the first event with it."""
    audio, stream, pushed, times = noise(7, 3 * RATE), classifier.stream(RATE, hop_s), 0, []
    for at in range(0, len(audio), 100):
        for event in stream.push(audio[at : at + 100]):
            assert pushed < round(event.time_s * RATE) <= pushed + 100
            times.append(event.time_s)
        pushed += 100
    assert times[0] == stream.first_event_s
    assert np.allclose(np.diff(times), stream.hop_s)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 44_100, 48_000, 96_000])
def test_the_resampler_delays_less_than_60_ms(classifier, rate_hz):
    stream, audio, step, pushed = classifier.stream(rate_hz), noise(8, 2 * rate_hz), rate_hz // 500, 0
    while not stream.push(audio[pushed : pushed + step]):
        pushed += step
    delay_s = (pushed + step) / rate_hz - stream.first_event_s
    print(f"{rate_hz} Hz: at most {1e3 * delay_s:.0f} ms later")
    assert 0 <= delay_s < 0.06


def test_a_gap_advances_time_and_no_column_spans_it(classifier):
    before, after = noise(9, int(1.5 * RATE)), noise(10, 2 * RATE)
    stream = classifier.stream(RATE, None, NONE)
    events = list(stream.events([before, Gap(0.75), after]))
    assert [event.time_s for event in events] == [1.0, 3.25, 4.25]
    alone, _ = _events(classifier, after, smoothing=NONE)
    assert [event.scores for event in events[1:]] == [event.scores for event in alone]
    health = stream.health
    assert (health.gaps, health.lost_s, health.hops) == (1, 0.75, 3)
    with pytest.raises(RuntimeFailure, match="gap"):
        stream.gap(-1.0)


def test_gaps_cause_no_drift_where_rates_differ(classifier):
    stream = classifier.stream(44_100)
    for seed in range(20):
        stream.push(noise(seed, 44_100 // 2))
        stream.gap(0.5)
    (event,) = list(stream.events([noise(21, 44_100 + 2000)]))
    assert event.time_s == pytest.approx(21.0, abs=1e-3)


def test_smoothing_continues_after_a_short_gap_only(classifier):
    first, second = noise(11, RATE), noise(12, RATE)
    smoothing = Smoothing(hops=3, margin=0.0)
    alone = _events(classifier, second, smoothing=NONE)[0][0].scores
    long = list(classifier.stream(RATE, None, smoothing).events([first, Gap(3.5), second]))
    short = list(classifier.stream(RATE, None, smoothing).events([first, Gap(0.5), second]))
    assert long[1].scores == alone
    assert np.allclose(short[1].scores, (np.array(short[0].scores) + alone) / 2, atol=1e-6)


@pytest.mark.parametrize("hop_s", [None, OVERLAP_S])
def test_silence_has_no_scene(classifier, hop_s):
    loud = noise(13, 2 * RATE)
    muted = np.random.default_rng(0).integers(-2, 3, 4 * RATE).astype(np.int16)
    audio = np.concatenate([(loud * 20_000).astype(np.int16), muted, (loud * 20_000).astype(np.int16)])
    events, stream = _events(classifier, audio, hop_s=hop_s)
    assert stream.health.silent_hops >= 3
    assert not [event for event in events if 3.2 < event.time_s < 6.0]
    assert [event for event in events if event.time_s > 6.5]
    nothing, _ = _events(classifier, np.zeros(3 * RATE, np.float32), hop_s=hop_s)
    assert nothing == []


def test_labels_change_by_the_rule_and_changes_are_marked(classifier):
    events, _ = _events(classifier, noise(14, 12 * RATE), smoothing=Smoothing(hops=4, margin=0.02))
    raw, _ = _events(classifier, noise(14, 12 * RATE), smoothing=NONE)
    smoother, before = Smoother(Smoothing(hops=4, margin=0.02)), ""
    for event, single in zip(events, raw, strict=True):
        label = LABELS[smoother.add(np.array(single.scores, np.float32))]
        assert event.label == label
        assert event.changed == (label != before)
        assert event.probability == event.scores[LABELS.index(label)]
        before = label


def test_invalid_pieces_are_refused_and_leave_the_stream_unchanged(classifier):
    audio = noise(15, 2 * RATE)
    stream = classifier.stream(RATE)
    events = stream.push(audio[:20_000])
    for bad, complaint in [
        (np.array([0.0, np.nan], np.float32), "sample 1 is not finite"),
        (np.zeros(10, np.int32), "unsupported type or shape"),
        (np.zeros((10, 2, 2), np.float32), "unsupported type or shape"),
        (np.zeros((10, 0), np.float32), "unsupported type or shape"),
    ]:
        with pytest.raises(RuntimeFailure, match=complaint):
            stream.push(bad)
    assert events + stream.push(audio[20_000:]) + stream.finish() == _events(classifier, audio)[0]
    with pytest.raises(RuntimeFailure, match="push after finish"):
        stream.push(audio)


@pytest.mark.parametrize("hop_s", [0.0, -1.0, 1.5, 0.1, 0.0001])
def test_invalid_hops_are_refused(classifier, hop_s):
    with pytest.raises(RuntimeFailure, match=r"hop_s: invalid value.*expected 1 s, or a smaller multiple of 0\.075 s"):
        classifier.stream(RATE, hop_s)


@pytest.mark.parametrize("engine", ["litert", "numpy-single"])
def test_streams_in_threads_share_a_classifier(bundle, engine):
    shared = SceneClassifier.open(bundle, engine)
    audio = [noise(seed, 3 * RATE) for seed in range(4)]
    expected = [_events(shared, one)[0] for one in audio]
    results: list = [None] * 4

    def listen(index):
        results[index] = [_events(shared, audio[index], chunk=4000)[0] for _ in range(5)]

    threads = [threading.Thread(target=listen, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[one] * 5 for one in expected]


def test_memory_is_constant(classifier):
    """A stream keeps as much after an hour as after two seconds."""
    stream = classifier.stream(RATE, OVERLAP_S)
    second = noise(16, RATE)

    def kept():
        return sum(part.size for part in stream._columns) + stream._log_mel._tail.size

    sizes = []
    for _ in range(40):
        stream.push(second)
        sizes.append(kept())
    assert max(sizes) < FRONTEND.n_mels * (FRONTEND.n_frames + 14) + RATE + 2 * FRONTEND.win_length
    assert max(sizes[20:]) <= max(sizes[:20])
