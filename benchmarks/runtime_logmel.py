"""Compare the speed of log-mel in NumPy and librosa, and time a clip from samples to label, on one thread.

Both have the same front end. They alternate, round by round, so that load affects them equally. Ratios within a round
are compared; the median and the middle half are printed. librosa is timed twice: by its usual call, and with a
precomputed mel bank, which it otherwise computes for every clip.

    python benchmarks/runtime_logmel.py [BUNDLE] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Before NumPy is loaded: one thread for all.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.spec import preset

SPEC = preset("dcase25")


def librosa_forms(samples: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Return librosa's log-mel of ``samples``, by its usual call and with a precomputed mel bank."""
    import librosa

    stft = {"n_fft": SPEC.n_fft, "win_length": SPEC.win_length, "hop_length": SPEC.hop_length, "pad_mode": "reflect"}
    band = {"n_mels": SPEC.n_mels, "fmin": SPEC.f_min_hz, "fmax": SPEC.f_max_hz, "htk": True, "norm": None}
    bank = librosa.filters.mel(sr=SPEC.sample_rate_hz, n_fft=SPEC.n_fft, **band)

    def as_called() -> np.ndarray:
        power = librosa.feature.melspectrogram(y=samples, sr=SPEC.sample_rate_hz, power=2.0, **stft, **band)
        return np.log(power + SPEC.log_offset)

    def with_bank() -> np.ndarray:
        return np.log(bank @ np.abs(librosa.stft(samples, **stft)) ** 2 + SPEC.log_offset)

    return {"librosa": as_called, "librosa, precomputed bank": with_bank}


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path, help="also time samples to label with LiteRT")
    parser.add_argument("--rounds", type=int, default=60, help="number of timings of each implementation")
    options = parser.parse_args()
    samples = np.random.default_rng(0).normal(0.0, 0.1, SPEC.clip_samples).astype(np.float32)
    log_mel = LogMel(SPEC)
    forms: dict[str, Callable[[], object]] = {"tinyscene": lambda: log_mel(samples), **librosa_forms(samples)}
    for name, call in list(forms.items())[1:]:
        print(f"{name}: differs by at most {np.abs(call() - log_mel(samples)).max():.1e}")
    if options.bundle is not None:
        classifier = SceneClassifier.open(options.bundle)
        rate_hz = classifier.frontend.sample_rate_hz
        forms[f"samples to label, {options.bundle.name}, LiteRT"] = lambda: classifier.classify(samples, rate_hz)
    for call in forms.values():
        timed(call)
    seconds = np.array([[timed(call) for call in forms.values()] for _ in range(options.rounds)])
    print(f"\n| one clip of {SPEC.name} | best, ms | median, ms | ratio to tinyscene's log-mel (middle half) |")
    print("|---|---|---|---|")
    for at, name in enumerate(forms):
        low, middle, high = np.percentile(seconds[:, at] / seconds[:, 0], [25, 50, 75])
        best, median = 1e3 * seconds[:, at].min(), 1e3 * np.median(seconds[:, at])
        print(f"| {name} | {best:.2f} | {median:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
