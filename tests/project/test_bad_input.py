"""Wrong inputs: each gives one line on standard error and exit code 2, and leaves no partial file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from tinyscene import command_line
from tinyscene.runtime.bundle import Bundle

RATE_HZ = 32_000


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    shape = (int(seconds * RATE_HZ), channels) if channels > 1 else int(seconds * RATE_HZ)
    return np.random.default_rng(0).uniform(-0.4, 0.4, shape).astype(np.float32)


def failure(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The single line that a failing command prints; the exit code must be 2."""
    code = command_line.main(words)
    err = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert code == 2, err
    assert len(err) == 1, err
    assert err[0].startswith("error: ")
    assert "Traceback" not in err[0]
    return err[0]


def write_missing(path: Path) -> None: ...


def write_empty(path: Path) -> None:
    path.write_bytes(b"")


def write_truncated(path: Path) -> None:
    sf.write(path, noise(3.0), RATE_HZ, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:60_000])


def write_text(path: Path) -> None:
    path.write_text("this is not audio\n" * 100)


def write_nan(path: Path) -> None:
    samples = noise(2.0)
    samples[40_000] = np.nan
    sf.write(path, samples, RATE_HZ, subtype="FLOAT")


def write_short(path: Path) -> None:
    sf.write(path, noise(0.2), RATE_HZ)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (write_missing, "no such file"),
        (write_empty, "empty"),
        (write_truncated, "truncated"),
        (write_text, "audio"),
        (write_nan, "40000|40,000|not a number|not finite"),
        (write_short, "0.2 s"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_unusable_audio(write, expected, tiny_bundle: Bundle, tmp_path: Path, capfd) -> None:
    clip = tmp_path / "clip.wav"
    write(clip)
    line = failure(["run", str(tiny_bundle.path), str(clip)], capfd)
    assert "clip.wav" in line
    assert any(words in line for words in expected.split("|")), line


@pytest.mark.parametrize(
    ("channels", "rate_hz", "note"), [(2, RATE_HZ, "mixed down"), (1, 8_000, "8,000 Hz")], ids=["stereo", "8kHz"]
)
def test_audio_that_is_converted_is_classified_with_a_note(
    channels: int, rate_hz: int, note: str, tiny_bundle: Bundle, tmp_path: Path, capfd
) -> None:
    sf.write(tmp_path / "clip.wav", noise(2.0, channels), rate_hz)
    assert command_line.main(["run", str(tiny_bundle.path), str(tmp_path / "clip.wav")]) == 0
    out, err = capfd.readouterr()
    assert "0.00 s" in out
    assert note in err


def changed_bundle(bundle: Bundle, folder: Path, name: str) -> Path:
    """A copy with one bit of one file changed."""
    copy = folder / "changed"
    shutil.copytree(bundle.path, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(bytes(data))
    return copy


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx", "graph.npz", "golden.npz", "manifest.json"])
@pytest.mark.parametrize("command", ["run", "verify", "firmware", "check"])
def test_a_bundle_with_one_changed_byte(command: str, name: str, tiny_bundle: Bundle, tmp_path: Path, capfd) -> None:
    changed = changed_bundle(tiny_bundle, tmp_path, name)
    before = sorted(p.name for p in tmp_path.iterdir())
    line = failure([command, str(changed), *(["clip.wav"] if command == "run" else [])], capfd)
    assert name in line
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_checkpoint_of_another_network(tmp_path: Path, capfd) -> None:
    torch.save({"state_dict": {"model.resnet.conv1.weight": torch.zeros(8, 3, 7, 7)}}, tmp_path / "other.ckpt")
    for words in (["import"], ["check"], ["export", "--ptq", str(tmp_path), "--out", str(tmp_path / "out")]):
        line = failure([words[0], str(tmp_path / "other.ckpt"), *words[1:]], capfd)
        assert "resnet.conv1.weight" in line
    assert [p.name for p in tmp_path.iterdir()] == ["other.ckpt"]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 cut short", b"not a checkpoint at all"], ids=["empty", "cut", "text"]
)
def test_a_file_that_is_not_a_checkpoint(content: bytes, tmp_path: Path, capfd) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    assert "a.ckpt" in failure(["import", str(tmp_path / "a.ckpt")], capfd)
    assert "a.ckpt" in failure(["check", str(tmp_path / "a.ckpt")], capfd)


def test_an_unknown_preset_names_the_known_ones(tmp_path: Path, capfd) -> None:
    (tmp_path / "r.yaml").write_text("model: cpm23-8\nfrontend: cpm99\nepochs: 1\nlearning_rate: 0.001\n")
    line = failure(["train", str(tmp_path / "r.yaml"), "--data", str(tmp_path), "--out", str(tmp_path / "run")], capfd)
    assert "frontend" in line
    assert "dcase25" in line
    assert [p.name for p in tmp_path.iterdir()] == ["r.yaml"]


def test_a_missing_data_folder(tmp_path: Path, capfd) -> None:
    for words in (["train", "cpm23-8", "--out", "run"], ["demo", "--out", "run"]):
        out = str(tmp_path / "run")
        line = failure([*(out if w == "run" else w for w in words), "--data", str(tmp_path / "nowhere")], capfd)
        assert "nowhere" in line


def test_export_requires_exactly_one_of_ptq_and_qat(tmp_path: Path, capfd) -> None:
    line = failure(["export", "a.pt", "--out", str(tmp_path / "b")], capfd)
    assert "--ptq" in line
    assert "--qat" in line


def test_export_replaces_nothing_without_overwrite(tiny_bundle: Bundle, tmp_path: Path, capfd) -> None:
    line = failure(["export", "a.pt", "--ptq", str(tmp_path), "--out", str(tiny_bundle.path)], capfd)
    assert "--overwrite" in line


def test_verify_refuses_unknown_targets_and_folders_before_it_starts(tmp_path, tiny_bundle, capfd):
    """The list of known targets includes the NPUs, and a report into a missing folder is refused before any work."""
    line = failure(["verify", str(tiny_bundle.path), "--targets", "numpy-double,ethos-u99"], capfd)
    assert "target 'ethos-u99': unknown" in line
    assert "ethos-u55-128" in line
    line = failure(["verify", str(tiny_bundle.path), "--report", str(tmp_path / "nowhere" / "report.html")], capfd)
    assert "no such folder" in line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bench", "BUNDLE", "--out", "FOLDER/nowhere/b.json"], "no such folder"),
        (["eval", "BUNDLE", "--data", "FOLDER", "--out", "FOLDER/nowhere/e.json"], "no such folder"),
        (["check", "BUNDLE", "--junit", "FOLDER/nowhere/c.xml"], "no such folder"),
        (["run", "BUNDLE", "-", "--rate", "0"], "1,000 to 768,000 Hz; got 0"),
        (["firmware", "exprt", "BUNDLE"], "expected firmware export"),
        (["bench", "comapre", "a.json", "b.json"], "expected bench compare"),
        (["firmware", "BUNDLE", "--optimise", "small"], "'small' is not one of 'layers'"),
        (["quality", "BUNDLE", "--recordings", "FOLDER/nowhere"], "give a folder of recordings"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_invalid_arguments(words, expected, tiny_bundle: Bundle, tmp_path: Path, capfd) -> None:
    """Files that cannot be written, a sample rate of 0, misspelt sub-commands: refused before any work."""
    words = [word.replace("BUNDLE", str(tiny_bundle.path)).replace("FOLDER", str(tmp_path)) for word in words]
    assert expected in failure(words, capfd)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("model: cpm23-8\nepoch: 1\nlearning_rate: 0.1\n", "field 'epoch': no such field"),
        ("model: cpm23-8\nlearning_rate: 0.1\n", "field 'epochs': Field required; next"),
        ("model: foo\nepochs: 1\nlearning_rate: 0.1\n", "field 'model': unknown model 'foo'"),
    ],
    ids=["misspelt", "missing", "unknown"],
)
def test_the_error_of_a_recipe_names_its_field(recipe: str, expected: str, tmp_path: Path, capfd) -> None:
    (tmp_path / "r.yaml").write_text(recipe)
    assert expected in failure(["train", str(tmp_path / "r.yaml"), "--data", str(tmp_path), "--out", "run"], capfd)
