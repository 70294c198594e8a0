"""Numbers and samples from outside: what is refused at once, and what still counts as one clip."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.listening import LABELS, RATE, noise
from tests.runtime.wav_files import wav_bytes
from tinyscene import command_line
from tinyscene.runtime.audio import AudioReader, fit_to_clip, mono_float32, read_audio, resample, resampler
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.limits import checked_rate, checked_seconds, is_one_clip, whole_number

NO_RATES = [0, 1, -1, 999, 768_001, 536_886_912, 10**400, True, None, "44100", 44_100.5, np.float64("nan"), 1e300]
NO_SECONDS = [0, -1, float("nan"), float("inf"), True, None, "2", 1e10]


@pytest.fixture(scope="module")
def classifier(bundle):
    return SceneClassifier.open(bundle, "numpy-single")


@pytest.mark.parametrize("rate_hz", NO_RATES, ids=repr)
def test_a_rate_that_no_recorder_has_is_refused_at_once(classifier, rate_hz):
    samples = noise(1, RATE)
    for call in (
        lambda: classifier.classify(samples, rate_hz),
        lambda: classifier.stream(rate_hz),
        lambda: resample(samples, rate_hz, RATE),
        lambda: resampler(RATE, rate_hz),
    ):
        with pytest.raises(RuntimeFailure, match=r"rate.*: invalid value; expected 1,000 to 768,000 Hz; got"):
            call()


@pytest.mark.parametrize("rate_hz", [1_000, 768_000, 44_100.0, np.int32(8_000), np.float32(16_000)], ids=repr)
def test_whole_rates_within_the_limits_are_accepted(rate_hz):
    assert checked_rate("rate", rate_hz) == rate_hz
    assert type(checked_rate("rate", rate_hz)) is int


@pytest.mark.parametrize("seconds", NO_SECONDS, ids=repr)
def test_durations_are_finite_and_above_zero(seconds):
    with pytest.raises(RuntimeFailure, match="expected seconds above 0"):
        checked_seconds("seconds", seconds)


@pytest.mark.parametrize("threads", [0, -1, 257, 10**9, True, 1.5])
def test_a_number_of_threads_is_bounded(bundle, threads):
    with pytest.raises(RuntimeFailure, match="threads: invalid value; expected 1 to 256 threads"):
        SceneClassifier.open(bundle, "numpy-single", threads)


@pytest.mark.parametrize("hop_s", [float("nan"), float("inf"), -0.5, 0, True, "1", 1e300, 2.0])
def test_a_hop_is_a_number_up_to_a_clip(classifier, hop_s):
    with pytest.raises(RuntimeFailure, match="hop_s: invalid value"):
        classifier.stream(RATE, hop_s)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_a_gap_is_finite(classifier, seconds):
    with pytest.raises(RuntimeFailure, match="gap: invalid value"):
        classifier.stream(RATE).gap(seconds)


def test_whole_numbers_beyond_any_printing_are_refused():
    with pytest.raises(RuntimeFailure, match="got a number of more than 18 digits"):
        whole_number("count", 10**5000, 1, 2, "things")


@pytest.mark.parametrize("value", [3e38, -3e38, 1e10, -2.2e9, np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_absurd_samples_are_refused_everywhere(classifier, tmp_path, value, dtype):
    samples = noise(2, RATE).astype(dtype)
    samples[1234] = value
    stereo = np.stack([noise(3, RATE).astype(dtype), samples], axis=1)
    opposite = np.stack([-samples, samples], axis=1)  # their mean is 0
    for audio in (samples, stereo, opposite):
        for call in (lambda a=audio: classifier.classify(a, RATE), lambda a=audio: classifier.stream(RATE).push(a)):
            with pytest.raises(RuntimeFailure, match=r"sample 1,234 is (not finite|beyond 2,147,483,648)"):
                call()
        (tmp_path / "absurd.wav").write_bytes(wav_bytes(audio.astype(np.float32)))
        with pytest.raises(RuntimeFailure, match=r"sample 1,234 \(0\.039 s\) is (not finite|beyond 2,147,483,648)"):
            read_audio(tmp_path / "absurd.wav", RATE)


def test_the_full_scale_of_32_bit_integers_is_still_accepted():
    assert mono_float32(np.array([2.0**31, -(2.0**31)], np.float32)).tolist() == [2.0**31, -(2.0**31)]


@pytest.mark.parametrize(("rate_hz", "channels"), [(1, 1), (999, 1), (768_001, 2), (536_886_912, 1), (RATE, 65)])
def test_a_header_with_an_absurd_rate_or_number_of_channels_is_refused(tmp_path, rate_hz, channels):
    path = tmp_path / "absurd.wav"
    path.write_bytes(wav_bytes(np.zeros((2000, channels), np.int16), rate_hz))
    with pytest.raises(RuntimeFailure, match=r"absurd\.wav, (sampling rate|channels): invalid value"):
        AudioReader(path, RATE)


@pytest.mark.parametrize("shape", [(2, 32_000), (10, 65)])
def test_an_array_with_more_than_64_channels_is_refused(shape):
    with pytest.raises(RuntimeFailure, match=r"\(n, channels\): invalid value; expected 1 to 64 channels"):
        mono_float32(np.zeros(shape, np.float32))


@pytest.mark.parametrize(("samples", "one"), [(30_399, False), (30_400, True), (33_600, True), (33_601, False)])
def test_the_length_of_one_clip_has_a_tolerance_of_a_twentieth(bundle, classifier, clip, capsys, samples, one):
    """The same rule for a file, an array and raw samples; ``data check`` and ``train`` use it through read_clip."""
    assert is_one_clip(samples, 32_000) == one
    audio = noise(4, samples)
    assert len(fit_to_clip(audio, 32_000)) == 32_000
    path = clip("about.wav", audio)
    if samples < 30_400:
        for call in (lambda: classifier.classify(audio, RATE), lambda: list(classifier.classify_file(path))):
            with pytest.raises(RuntimeFailure, match=r"too short for this model; expected at least 0\.95 s"):
                call()
        return
    (first, *more) = classifier.classify(audio, RATE).hops
    assert len(more) == (0 if one else 1)
    assert [hop.scores for hop in classifier.classify_file(path)] == [first.scores, *(hop.scores for hop in more)]
    assert first.scores == classifier.classify(fit_to_clip(audio, 32_000), RATE).hops[0].scores
    assert classifier.n_hops(samples / RATE) == 1 + len(more)
    if samples < 32_000:
        (event,) = classifier.stream(RATE).events([audio])
        assert event.label == first.label in LABELS


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-", "--hop", "nan"], "run --hop: invalid value; expected seconds above 0; got nan"),
        (["-", "--hop", "-1"], "run --hop: invalid value"),
        (["--mic", "--hop", "inf"], "run --hop: invalid value"),
        (["-", "--seconds", "nan"], "run --seconds: invalid value"),
        (["-", "--seconds", "-1"], "run --seconds: invalid value"),
        (["--watch", ".", "--seconds", "inf"], "run --seconds: invalid value"),
        (["-", "--rate", "0"], "run --rate: invalid value; expected 1,000 to 768,000 Hz; got 0"),
        (["--mic", "--rate", "1000000"], "run --rate: invalid value"),
        (["-", "--channels", "0"], "run --channels: invalid value; expected 1 to 64 channels; got 0"),
        (["-", "--channels", "65535"], "run --channels: invalid value"),
        (["a.wav", "--threads", "0"], "run --threads: invalid value; expected 1 to 256 threads; got 0"),
        (["a.wav", "--threads", "99999"], "run --threads: invalid value"),
    ],
)
def test_numbers_of_the_command_are_refused_in_one_line(bundle, capsys, words, complaint):
    assert command_line.main(["run", str(bundle.path), *words]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"error: {complaint}")
    assert printed.out == ""


@pytest.mark.parametrize("words", [["--seconds", "nan"], ["--seconds", "0"], ["--threads", "0"]])
def test_numbers_of_bench_are_refused_in_one_line(bundle, capsys, words):
    assert command_line.main(["bench", str(bundle.path), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: bench {words[0]}: invalid value")
