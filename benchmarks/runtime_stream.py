"""Run a stream for hours and check memory, clock, log-mel columns, and that its events equal the offline result.

Noise whose level changes every second is pushed in pieces of irregular length, at full speed or in real time. Each
second is also classified offline and smoothed by the same rule; every event must be equal. The exit code is 1 when an
event differs, memory grows, the clock drifts, or a column of the log-mel is computed twice or never. At another rate
than the model's the stream resamples; its events are then counted and not compared.

    python benchmarks/runtime_stream.py BUNDLE [--hours 24] [--rate 44100]
    python benchmarks/runtime_stream.py BUNDLE --hours 0.1667 --paced
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.host import Sensors
from tinyscene.runtime.smoothing import Smoother, Smoothing
from tinyscene.runtime.stream import SceneEvent

GROWTH_MB = 2.0  # of memory, at most
SETTLED_SHARE = 0.05  # memory is compared with what it was after this share of the run


def clip(seed: int, samples: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(samples, np.float32) * 10 ** rng.uniform(-4, -0.7)).astype(np.float32)


def pieces(
    clips: int, rate_hz: int, offline: list[np.ndarray] | None, classifier: SceneClassifier
) -> Iterator[np.ndarray]:
    """Yield the clips end to end in pieces of random length; append each clip's offline scores to ``offline``."""
    lengths, waiting = np.random.default_rng(1), np.zeros(0, np.float32)
    spec = classifier.frontend
    for seed in range(clips):
        audio = clip(seed, round(rate_hz * spec.clip_samples / spec.sample_rate_hz))
        if offline is not None:
            offline.append(np.array(classifier.classify(audio, rate_hz).hops[0].scores))
        waiting = np.concatenate([waiting, audio])
        while len(waiting) > 8000:
            length = int(lengths.integers(1, 8000))
            yield waiting[:length]
            waiting = waiting[length:]
    yield waiting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="a bundle folder")
    parser.add_argument("--hours", type=float, default=24.0, help="length of the stream")
    parser.add_argument("--rate", type=int, help="sampling rate in Hz; the model's if not given")
    parser.add_argument("--paced", action="store_true", help="push in real time")
    options = parser.parse_args()
    classifier, sensors = SceneClassifier.open(options.bundle), Sensors()
    spec, smoothing = classifier.frontend, Smoothing()
    rate_hz = options.rate or spec.sample_rate_hz
    clips = round(options.hours * 3600 * spec.sample_rate_hz / spec.clip_samples)
    stream, smoother = classifier.stream(rate_hz, None, smoothing), Smoother(smoothing)
    offline: list[np.ndarray] | None = [] if rate_hz == spec.sample_rate_hz else None
    all_s = clips * spec.clip_samples / spec.sample_rate_hz
    pushed, late, events, different, settled_rss, latest = 0, [], 0, 0, 0, None
    begin = time.perf_counter()
    for piece in pieces(clips, rate_hz, offline, classifier):
        pushed += len(piece)
        due = begin + pushed / rate_hz
        if options.paced:
            time.sleep(max(0.0, due - time.perf_counter()))
        last = pushed / rate_hz >= all_s - 1e-9
        for event in [*stream.push(piece), *(stream.finish() if last else ())]:
            if options.paced:
                late.append(time.perf_counter() - due)
            different += offline is not None and not matches(event, smoother, offline.pop(0), classifier)
            events, latest = events + 1, event
        if not settled_rss and pushed > SETTLED_SHARE * all_s * rate_hz:
            settled_rss = sensors.read().rss_bytes or 0
    took = time.perf_counter() - begin
    grown = ((sensors.read().rss_bytes or 0) - settled_rss) / 1e6
    assert latest is not None
    offline_too = "not compared" if offline is None else f"{different} different from the offline result"
    print(f"{all_s / 3600:.2f} h of audio at {rate_hz:,} Hz in {took:.0f} s, {all_s / took:.0f} times real time")
    print(f"{events} events of {clips}, {offline_too}")
    print(f"clock: the last event is at {latest.time_s:.6f} s, {pushed / rate_hz:.6f} s were pushed")
    columns = clips * spec.n_frames
    print(f"columns: {stream.health.columns:,} computed, {columns:,} expected")
    print(f"memory: grown by {grown:.2f} MB since the first {100 * SETTLED_SHARE:g} %")
    if options.paced:
        milliseconds = 1e3 * np.percentile(late, [50, 99, 100])
        print("events after their last sample: median {:.1f}, p99 {:.1f}, at most {:.1f} ms".format(*milliseconds))
    drift = abs(latest.time_s - pushed / rate_hz)
    failures = (events != clips, different, stream.health.columns != columns, drift > 1e-6, grown >= GROWTH_MB)
    sys.exit(any(failures))


def matches(event: SceneEvent, smoother: Smoother, scores: np.ndarray, classifier: SceneClassifier) -> bool:
    label = classifier.labels[smoother.add(scores.astype(np.float32))]
    return event.label == label and event.scores == tuple(smoother.scores.tolist())


if __name__ == "__main__":
    main()
