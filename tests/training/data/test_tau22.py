"""The reader of TAU22 folders: accepted layouts, splits, decoding, and refusals."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.training.layout import SCENES, write_layout, write_split
from tinyscene.runtime.limits import is_one_clip
from tinyscene.training.data import decode, split_files
from tinyscene.training.data.decode import load_waveforms, read_clip
from tinyscene.training.data.faults import Fault
from tinyscene.training.data.split_files import PUBLISHED_TEST, PUBLISHED_TRAIN, Record
from tinyscene.training.data.tau22 import Tau22, split_validation
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.published import TAU22_LABELS


def read_split(path: Path) -> tuple[Record, ...]:
    """Read a split file without faults."""
    faults: list[Fault] = []
    records = split_files.read_split(path, faults)
    assert not faults
    return records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "tau")


def test_records_and_parts(folder: Path) -> None:
    opened = Tau22.open(folder)
    assert opened.labels == SCENES
    assert (len(opened.train), len(opened.validation), len(opened.test)) == (36, 12, 12)
    assert opened.test[0] == Record("audio/airport-arden-4-4-0-a.wav", "airport", "arden", "4", "4", "0", "a")
    assert not {r.place for r in opened.train} & {r.place for r in opened.validation}
    assert Tau22.open(folder) == opened


def test_real_split_files(shared_data: Path) -> None:
    counts = {"fold1_evaluate": 29_680, "test": 29_680, "split5": 6_980, "split10": 13_960, "split25": 34_900}
    for name, count in {**counts, "split50": 69_800}.items():
        records = read_split(shared_data / "tau22" / f"{name}.csv")
        assert len(records) == count
        assert len({r.scene for r in records}) == 10
        devices = {r.device for r in records}
        assert devices == {"a", "b", "c", "s1", "s2", "s3"} | ({"s4", "s5", "s6"} if count == 29_680 else set())
    training, validation = split_validation(records)
    assert len(training) + len(validation) == 69_800
    assert 0.08 < len(validation) / 69_800 < 0.25
    assert not {r.place for r in training} & {r.place for r in validation}
    assert {r.scene for r in validation} == {r.scene for r in training}


def test_crlf_byte_order_mark_and_blank_lines(folder: Path) -> None:
    path = folder / "evaluation_setup" / "fold1_train.csv"
    before = Tau22.open(folder)
    text = path.read_text().replace("\n", "\r\n") + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert Tau22.open(folder) == before


def test_subsets(folder: Path) -> None:
    rows = [(r.filename, r.scene) for r in read_split(folder / "evaluation_setup" / "fold1_train.csv")]
    write_split(folder / "split_setup" / "split50.csv", rows[::2])
    opened = Tau22.open(folder, subset=50)
    assert len(opened.train) + len(opened.validation) == 24
    with pytest.raises(TrainingError, match=re.escape("split_setup/split7.csv")):
        Tau22.open(folder, subset=7)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("audio/airport-arden-0-0-9-a.wav\tairport", "no file audio/airport-arden-0-0-9-a.wav"),
        ("audio/airport-arden-0-0-0-a.wav\tairport", "more than once"),
        ("audio/airport-arden-4-4-0-a.wav\tairport", "training and the test"),
        ("audio/airport-arden-0-0-0-s1.wav\tbus", "has the label 'bus'"),
        ("audio/airport-arden-0-0-0-d.wav\tairport", "unknown device 'd'"),
        ("audio/airport-0-0-0-a.wav\tairport", "not scene-city-location-segment-sub-device"),
        ("../airport-a-0-0-0-a.wav\tairport", "not audio/NAME.wav"),
        ("audio/airport-arden-0-0-0-a.wav", "1 columns, not 2"),
    ],
)
def test_all_faults_are_in_one_message(folder: Path, line: str, says: str) -> None:
    with open(folder / "evaluation_setup" / "fold1_train.csv", "a") as file:
        file.write(f"{line}\naudio/bus-arden-100-0-0-s9.wav\tbus\n")
    with pytest.raises(TrainingError, match=re.escape(says)) as refusal:
        Tau22.open(folder)
    assert "no file audio/bus-arden-100-0-0-s9.wav" in str(refusal.value)
    assert "2 faults" in str(refusal.value)


def test_other_folders_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(TrainingError, match="no such folder"):
        Tau22.open(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match="got not a folder"):
        Tau22.open(folder / "evaluation_setup" / "fold1_train.csv")
    with pytest.raises(TrainingError, match="not a folder in TAU22 layout"):
        Tau22.open(tmp_path)
    (folder / "evaluation_setup" / "fold1_train.csv").write_text("filename,scene_label\na,b\n")
    with pytest.raises(TrainingError, match="tab-separated columns"):
        Tau22.open(folder)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("train", "scene 'park' of the test part does not occur in training"),
        ("evaluate", "scene 'park' does not occur in the test part"),
    ],
)
def test_a_scene_in_one_part_only_is_refused(file: str, says: str, folder: Path) -> None:
    path = folder / "evaluation_setup" / f"fold1_{file}.csv"
    path.write_text("".join(x for x in path.read_text().splitlines(keepends=True) if "/park-" not in x))
    with pytest.raises(TrainingError, match=says):
        Tau22.open(folder)


@pytest.mark.parametrize("subset", [5, 25])
def test_the_published_set_must_be_complete(
    subset: int, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published split files with Windows line ends and a simulated audio folder."""
    for name, path in (("fold1_evaluate", "evaluation_setup"), (f"split{subset}", "split_setup")):
        text = (shared_data / "tau22" / f"{name}.csv").read_text()
        (tmp_path / path).mkdir()
        (tmp_path / path / f"{name}.csv").write_text(text.replace("\n", "\r\n"), newline="")
    (tmp_path / "audio").mkdir()
    names = [
        Path(line.split()[0]) for p in tmp_path.glob("*/*.csv") for line in p.read_text().splitlines() if "/" in line
    ]
    whole_iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda p: iter(names) if p.name == "audio" else whole_iterdir(p))
    opened = Tau22.open(tmp_path, subset)
    assert len(opened.train) + len(opened.validation) == PUBLISHED_TRAIN[subset]
    assert len(opened.test) == PUBLISHED_TEST
    assert opened.labels == TAU22_LABELS
    split = tmp_path / "split_setup" / f"split{subset}.csv"
    split.write_text("\n".join(split.read_text().splitlines()[:-9]))
    with pytest.raises(TrainingError, match=f"the published one {PUBLISHED_TRAIN[subset]:,}"):
        Tau22.open(tmp_path, subset)


def test_the_splits_are_nested(shared_data: Path) -> None:
    parts = [{r.filename for r in read_split(shared_data / "tau22" / f"split{n}.csv")} for n in (5, 10, 25, 50)]
    assert all(small < large for small, large in itertools.pairwise(parts))


def test_decoding_is_correct_and_cached(folder: Path, tmp_path: Path) -> None:
    dataset = Tau22.open(folder).load(32_000, tmp_path / "cache", progress=False)
    clips = dataset.train
    assert clips.waveforms.shape == (36, 32_000)
    assert clips.waveforms.dtype == np.int16
    for record, waveform, target in zip(clips.records, clips.waveforms, clips.targets, strict=True):
        assert SCENES[target] == record.scene
        peak_hz = np.abs(np.fft.rfft(waveform.astype(np.float64))).argmax()
        assert 300 * 3**target <= peak_hz <= 300 * 3**target + 31
        assert np.abs(waveform).max() == pytest.approx(0.27 * 32768, rel=0.2)
    names = sorted(p.name for p in (tmp_path / "cache").glob("waveforms*"))
    assert [name.partition(".")[2] for name in names] == ["crc32", "npy"]
    (folder / clips.records[0].filename).rename(folder / "away.wav")
    (folder / "away.wav").rename(folder / clips.records[0].filename)
    Tau22.open(folder).load(32_000, tmp_path / "cache", progress=False)
    assert sorted(p.name for p in (tmp_path / "cache").glob("waveforms*")) == names
    soundfile.write(folder / clips.records[0].filename, np.zeros(44_100), 44_100)
    changed = Tau22.open(folder).load(32_000, tmp_path / "cache", progress=False)
    assert not changed.train.waveforms[0].any()


def test_an_interrupted_decoding_is_continued(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "BLOCK_CLIPS", 8)
    records, cache = Tau22.open(folder).train, tmp_path / "cache"
    whole = np.array(load_waveforms(folder, records, 8_000, tmp_path / "whole", progress=False))
    decoded: list[str] = []

    def read(path: Path, rate: int, stop_at: int | None = None) -> np.ndarray:
        decoded.append(path.name)
        if len(decoded) == stop_at:
            raise KeyboardInterrupt
        return read_clip(path, rate)

    monkeypatch.setattr(decode, "read_clip", lambda path, rate: read(path, rate, stop_at=20))
    with pytest.raises(KeyboardInterrupt):
        load_waveforms(folder, records, 8_000, cache, progress=False)
    decoded.clear()
    [part] = cache.glob("*.part")
    with open(part, "r+b") as file:  # the second block did not reach the disk
        file.seek(128 + 10 * 16_000)
        file.write(b"\xff" * 1000)
    monkeypatch.setattr(decode, "read_clip", read)
    again = load_waveforms(folder, records, 8_000, cache, progress=False)
    assert sorted(decoded) == sorted(Path(r.filename).name for r in records[8:])
    assert np.array_equal(again, whole)


def test_a_damaged_cache_is_refused(folder: Path, tmp_path: Path) -> None:
    records = Tau22.open(folder).train
    load_waveforms(folder, records, 8_000, tmp_path, progress=False)
    [path] = tmp_path.glob("*.npy")
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    for damaged in (content, content[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match="damaged"):
            load_waveforms(folder, records, 8_000, tmp_path, progress=False)


def test_too_little_space_is_reported_first(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Tau22.open(folder).train
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**8))
    monkeypatch.setattr(decode, "read_clip", lambda *_: pytest.fail("decoded before the space was checked"))
    with pytest.raises(TrainingError, match="not enough space"):
        load_waveforms(folder, records, 32_000, tmp_path, progress=False)


def test_stereo_and_other_rates_become_mono_at_the_given_rate(tmp_path: Path) -> None:
    t = np.arange(8_000) / 8_000
    left = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(tmp_path / "x.wav", np.stack([left, 0 * left], axis=1), 8_000)
    clip = read_clip(tmp_path / "x.wav", 32_000)
    assert clip.shape == (32_000,)
    assert np.abs(np.fft.rfft(clip.astype(float))).argmax() == 440
    assert np.abs(clip[2000:-2000]).max() == pytest.approx(0.25 * 32768, rel=0.02)


@pytest.mark.parametrize(("samples", "fault"), [(7_599, True), (7_600, False), (8_400, False), (8_401, True)])
def test_a_clip_of_about_a_second_is_accepted_as_by_run(tmp_path: Path, samples: int, fault: bool) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.full(samples, 0.25), 8_000)
    assert bool(decode._inspected(path, samples=False)[1]) == fault == (not is_one_clip(samples, 8_000))
    assert read_clip(path, 8_000).shape == (8_000,)


@pytest.mark.parametrize("value", [3e38, 1e10, np.inf])
def test_a_clip_with_absurd_samples_is_refused(tmp_path: Path, value: float) -> None:
    path, audio = tmp_path / "x.wav", np.zeros(8_000, np.float32)
    audio[5] = value
    soundfile.write(path, audio, 8_000, subtype="FLOAT")
    (fault,) = decode._inspected(path, samples=False)[1]
    assert (fault.kind, fault.what[:8]) == ("not finite", "sample 5")
    with pytest.raises(TrainingError, match="cannot be decoded; got sample 5"):
        read_clip(path, 8_000)


def test_esc10_in_tau22_layout(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    script = shared_data / "tau22_layout.py"
    options = ["--alias", "--max-per-recording", "1", "--devices", "1"]
    subprocess.run([sys.executable, script, "esc10", tmp_path / "esc", *options], check=True, capture_output=True)
    dataset = Tau22.open(tmp_path / "esc").load(32_000, tmp_path / "cache", progress=False)
    assert len(dataset.labels) == 10
    assert {r.device for r in dataset.train.records} == {"a", "s1"}
    assert min(len(dataset.train), len(dataset.validation), len(dataset.test)) > 50
    assert (dataset.train.waveforms.astype(np.float32).std(axis=1) > 0).all()
