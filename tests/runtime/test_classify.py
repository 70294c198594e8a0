"""From audio to labels: hops, scores, times, and the command that prints them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.runtime.listening import FRONTEND, LABELS, RATE, noise
from tinyscene import command_line
from tinyscene.runtime.arith import dequantise, quantise
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.scores import softmax


def _by_hand(bundle, clip_samples, rounding):
    """The stages one by one: log-mel, codes, graph, dequantised scores, softmax."""
    graph = bundle.graph
    log_mel = LogMel(FRONTEND)(clip_samples)
    codes = quantise(log_mel[None, :, :, None], graph.tensors[graph.input].quant)
    logits = dequantise(run(graph, codes, rounding=rounding), graph.tensors[graph.output].quant)[0].astype(np.float64)
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


@pytest.mark.parametrize(
    ("engine", "rounding"),
    [("numpy-double", "double"), ("litert-reference", "double"), ("numpy-single", "single"), ("litert", "single")],
)
def test_hops_equal_the_separate_stages(bundle, clip, engine, rounding):
    audio = noise(1, 3 * RATE)
    hops = list(SceneClassifier.open(bundle.path, engine).classify_file(clip("a.wav", audio)))
    assert [hop.start_s for hop in hops] == [0.0, 1.0, 2.0]
    for at, hop in enumerate(hops):
        expected = _by_hand(bundle, audio[at * RATE : (at + 1) * RATE], rounding)
        assert np.allclose(hop.scores, expected, atol=1e-6)
        assert hop.label == LABELS[int(np.argmax(expected))]
        assert sum(hop.scores) == pytest.approx(1.0, abs=1e-5)
        assert min(hop.times.read_s, hop.times.log_mel_s, hop.times.network_s) >= 0
    assert len({hop.scores for hop in hops}) > 1


def test_a_remainder_gets_a_hop_that_ends_with_the_file(bundle, clip):
    audio = noise(2, int(2.25 * RATE))
    classifier = SceneClassifier.open(bundle, "numpy-single")
    hops = list(classifier.classify_file(clip("a.wav", audio)))
    assert [hop.start_s for hop in hops] == [0.0, 1.0, 1.25]
    assert np.allclose(hops[-1].scores, _by_hand(bundle, audio[-RATE:], "single"), atol=1e-6)
    assert classifier.n_hops(2.25) == 3
    assert classifier.n_hops(2.0) == 2


def test_samples_and_files_have_equal_results(bundle, clip):
    classifier = SceneClassifier.open(bundle, "numpy-single")
    stereo = np.stack([noise(3, 44_100 * 2), noise(4, 44_100 * 2)], axis=1)
    from_file = list(classifier.classify_file(clip("a.wav", stereo, 44_100)))
    from_samples = classifier.classify(stereo, 44_100).hops
    assert [hop.label for hop in from_file] == [hop.label for hop in from_samples]
    assert np.allclose([hop.scores for hop in from_file], [hop.scores for hop in from_samples], atol=1e-4)


def test_audio_shorter_than_an_input_is_refused(bundle, clip):
    classifier = SceneClassifier.open(bundle, "numpy-single")
    path = clip("short.wav", noise(5, int(0.2 * RATE)))
    with pytest.raises(
        RuntimeFailure, match=r"short\.wav: too short for this model; expected at least 0\.95 s; got 0\.2 s"
    ):
        list(classifier.classify_file(path))
    for samples in (0, 30_399):
        with pytest.raises(RuntimeFailure, match="too short"):
            classifier.classify(noise(5, samples), RATE)


def test_softmax_of_large_logits():
    assert np.allclose(softmax(np.array([1000.0, 1000.0, -1000.0], np.float32)), [0.5, 0.5, 0.0])
    assert softmax(np.zeros(4, np.float32)).tolist() == [0.25] * 4


def test_run_prints_a_line_per_hop(bundle, clip, capsys):
    long = clip("long.wav", noise(6, 3 * RATE), subtype="PCM_16")
    narrow = clip("narrow.flac", 0.2 * np.stack([noise(7, 8000)] * 2, axis=1), 8000, "PCM_16")
    assert command_line.main(["run", str(bundle.path), str(long), str(narrow)]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == f"{long}  3.00 s, 32,000 Hz, WAV PCM_16"
    assert all(f"{start:.2f} s" in lines[1 + start] for start in range(3))
    assert "read" in lines[1]
    assert "log-mel" in lines[1]
    assert "network" in lines[1]
    assert lines[4].startswith("  mean of 3 hops")
    assert lines[5].startswith(str(narrow))
    assert len(lines) == 7
    assert printed.err.splitlines() == [
        f"note: {narrow}: stereo, mixed down to mono",
        f"note: {narrow}: 8,000 Hz resampled to 32,000 Hz: no content above 4,000 Hz",
    ]


def test_run_as_json_is_one_document_with_the_same_results(bundle, clip, capsys):
    path = clip("stereo.wav", np.stack([noise(8, 2 * RATE)] * 2, axis=1))
    assert command_line.main(["run", "--json", str(bundle.path), str(path), "--engine", "numpy-double"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["engine"], record["notes"]) == ("numpy-double", [])
    (answer,) = record["clips"]
    assert answer["notes"] == ["stereo, mixed down to mono"]
    assert answer["seconds"] == 2.0
    hops = list(SceneClassifier.open(bundle, "numpy-double").classify_file(path))
    assert [h["label"] for h in answer["hops"]] == [h.label for h in hops]
    assert [list(h["scores"].values()) for h in answer["hops"]] == [list(h.scores) for h in hops]
    assert set(answer["hops"][0]["times_s"]) == {"read", "log_mel", "network"}
    mean = np.mean([hop.scores for hop in hops], axis=0)
    assert np.allclose(list(answer["scores"].values()), mean)
    assert answer["label"] == LABELS[int(np.argmax(mean))]


def test_an_invalid_file_is_one_line_and_exit_code_2_and_the_others_are_classified(bundle, clip, tmp_path, capsys):
    good = clip("good.wav", noise(9, RATE))
    (tmp_path / "bad.wav").write_text("no audio")
    gone = tmp_path / "gone.wav"
    for extra in ([], ["--json"]):
        assert (
            command_line.main(["run", str(bundle.path), str(tmp_path / "bad.wav"), str(good), str(gone), *extra]) == 2
        )
        printed = capsys.readouterr()
        errors = printed.err.splitlines()
        assert [line.split(": ")[:2] for line in errors] == [
            ["error", str(tmp_path / "bad.wav")],
            ["error", str(gone)],
        ]
        assert str(good) in printed.out
    record = json.loads(printed.out)
    assert ["error" in c for c in record["clips"]] == [True, False, True]


def test_a_sample_that_is_not_finite_late_in_a_file_leaves_no_partial_record(bundle, clip, capsys):
    audio = noise(10, 3 * RATE)
    audio[int(2.5 * RATE)] = np.nan
    path = clip("late.wav", audio)
    assert command_line.main(["run", "--json", str(bundle.path), str(path)]) == 2
    (answer,) = json.loads(capsys.readouterr().out)["clips"]
    assert set(answer) == {"path", "error"}
    assert "sample 80,000 (2.500 s) is not finite" in answer["error"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nowhere"], "nowhere: no such bundle"),
        (["BUNDLE", "--engine", "abacus"], "engine 'abacus': unknown"),
    ],
)
def test_an_error_before_the_start_is_one_line(bundle, clip, capsys, words, complaint):
    words = [str(bundle.path) if word == "BUNDLE" else word for word in words]
    path = clip("a.wav", noise(1, RATE))
    assert command_line.main(["run", words[0], str(path), *words[1:]]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"error: {complaint}")
