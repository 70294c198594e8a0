"""Synthetic scenes: the layout, the seed, the devices; nothing half-written."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.training.data.microphones import device, impulse_response, impulse_responses, record
from tinyscene.training.data.tau22 import Tau22
from tinyscene.training.synthetic import dataset
from tinyscene.training.synthetic.dataset import TEST_DEVICES, TRAIN_DEVICES, SyntheticSettings, write_tau22_layout
from tinyscene.training.synthetic.scenes import SCENES, record_place
from tinyscene.training.synthetic.sounds import RATE_HZ, SOUNDS

SETTINGS = SyntheticSettings(seed=1, locations_per_class=4, clips_per_location=3, clips_per_device=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "scenes"
    counts = write_tau22_layout(out, SETTINGS, progress=False)
    assert (counts.train, counts.test) == (10 * 3 * (3 + 5), 10 * 9)
    return out


def test_layout_matches_tau22(folder: Path) -> None:
    opened = Tau22.open(folder)
    assert opened.labels == tuple(sorted(SCENES))
    assert {r.device for r in opened.train} == set(TRAIN_DEVICES)
    assert {r.device for r in opened.test} == set(TEST_DEVICES)
    assert not {r.place for r in (*opened.train, *opened.validation)} & {r.place for r in opened.test}
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.*"))
    tables = [f for f in files if f.endswith(".csv")]
    assert tables == [
        *(f"evaluation_setup/fold1_{part}.csv" for part in ("evaluate", "test", "train")),
        "meta.csv",
        *(f"split_setup/{name}.csv" for name in ("split10", "split25", "split5", "split50", "test")),
    ]
    with open(folder / "meta.csv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert list(rows[0]) == ["filename", "scene_label", "identifier", "source_label"]
    assert {row["filename"] for row in rows} == {f for f in files if f.endswith(".wav")}
    info = soundfile.info(folder / rows[0]["filename"])
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (44_100, 1, 44_100, "PCM_24")
    nested = [(folder / "split_setup" / f"split{n}.csv").read_text().splitlines() for n in (5, 10, 25, 50)]
    for small, large in itertools.pairwise(nested):
        assert set(small) < set(large)


def test_output_depends_on_the_seed_only(folder: Path, tmp_path: Path) -> None:
    write_tau22_layout(tmp_path / "again", SETTINGS, progress=False, workers=1)
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes()


def test_seeds_give_different_sounds() -> None:
    one, two = (record_place("park", 1, np.random.default_rng(seed)) for seed in (1, 2))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.2


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_are_finite_with_unit_rms(name: str) -> None:
    for seed in range(3):
        sound = SOUNDS[name](np.random.default_rng(seed), RATE_HZ)
        assert sound.shape == (RATE_HZ,)
        assert np.isfinite(sound).all()
    long = SOUNDS[name](np.random.default_rng(0), 10 * RATE_HZ)
    assert np.sqrt((long**2).mean()) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("scene", SCENES)
def test_places_are_within_full_scale_and_audible(scene: str) -> None:
    sound = record_place(scene, 2, np.random.default_rng(3))
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1.0
    assert -45 < 10 * np.log10((sound**2).mean()) < -8


def test_scenes_overlap_but_differ() -> None:
    used = [set(scene.sounds) for scene in SCENES.values()]
    assert all(any(a & b - {"air"} for b in used if b is not a) for a in used)
    assert len({tuple(sorted(s.sounds.items())) for s in SCENES.values()}) == len(SCENES)


def test_devices_depend_on_their_name_and_differ_in_response() -> None:
    names = [name for name in TEST_DEVICES if name != "a"]
    assert all(device(name) == device(name) for name in names)
    responses = [np.abs(np.fft.rfft(impulse_response(device(name), 32_000), 4096)) for name in names]
    for i, one in enumerate(responses):
        for two in responses[:i]:
            ratio = 20 * np.log10(one[100:1500] / two[100:1500])
            assert ratio.std() > 1.0
    taps = impulse_response(device("s1"), 44_100)
    assert (taps**2).sum() == pytest.approx(1.0, rel=1e-4)
    assert (taps[:60] ** 2).sum() > 0.8  # minimum phase: the energy comes first
    assert impulse_responses(5, 32_000).shape == (5, 256)


def test_the_reference_device_adds_faint_noise_only() -> None:
    rng = np.random.default_rng(0)
    sound = (0.1 * rng.standard_normal(RATE_HZ)).astype(np.float32)
    assert np.abs(record(sound, device("a"), RATE_HZ, rng) - sound).max() < 1e-3
    loud = record(np.full(RATE_HZ, 0.9, np.float32), device("s2"), RATE_HZ, rng)
    assert np.abs(loud).max() <= 1.0


def test_no_partial_folder_after_a_failure(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeFailure, match="already exists"):
        write_tau22_layout(folder, SETTINGS)

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(dataset, "write_tables", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_tau22_layout(tmp_path / "x", SyntheticSettings(1, 4, 1, 1), progress=False)
    assert list(tmp_path.iterdir()) == []
