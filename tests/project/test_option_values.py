"""Values of options that are out of range, empty or of two lines: refused before any work, or written as meant.

``python -m tests.faults arguments`` tries every option of every command; here are the kinds that it found.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.firmware_harness.bundles import small_bundle
from tinyscene import command_line
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.ship.product import Options
from tinyscene.training.commands.recipe import _write
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.config import named_config
from tinyscene.training.planning.width_search import Candidate
from tinyscene.training.recipe import load_recipe

HUGE = "99999999999999999999"
OUT_OF_RANGE = {
    "data synth, negative seed": ("data synth --out WORK/synth --seed -1", "--seed"),
    "data synth, places that fill the memory": (f"data synth --out WORK/synth --locations {HUGE}", "--locations"),
    "data synth, clips that fill the memory": (f"data synth --out WORK/synth --clips {HUGE}", "--clips"),
    "train, negative seed": ("train cpm23 --data WORK --out WORK/run --seed -1", "--seed"),
    "train, seed of more than 64 bits": (f"train cpm23 --data WORK --out WORK/run --seed {HUGE}", "--seed"),
    "train compare, endless": (f"train compare cpm23 --data WORK --out WORK/run --seeds {HUGE}", "--seeds"),
    "export, epochs": (f"export WORK/x.pt --qat WORK --out WORK/b --epochs {HUGE}", "--epochs"),
    "export, negative seed": ("export WORK/x.pt --qat WORK --out WORK/b --seed -1", "--seed"),
    "recipe fit, classes": (f"recipe fit --classes {HUGE}", "--classes"),
    "data check, negative share": ("data check WORK --subset -1", "--subset"),
    "npu, not a number": ("npu WORK/m.tflite --min-npu-share nan", "--min-npu-share"),
}
NO_DURATION = ("nan", "inf", "-1", "0", "1e300")
NO_RELEASE = ("1.0", "1.0.\u0662", f"1.0.{HUGE}", "nan", "1.0.0\n")
EMPTY = {
    "path of an input": (["check", ""], "arguments"),
    "path of a folder to watch": (["run", "bundle", "--watch", ""], "--watch"),
    "value after an equals sign": (["run", "bundle", "--watch="], "--watch"),
    "sub-command": ([""], "arguments"),
    "argument after the end of options": (["check", "--", ""], "arguments"),
}


def refusal(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    assert command_line.main(words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "defect" not in line
    return line


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_numbers_out_of_range(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words, option = OUT_OF_RANGE[name]
    assert option in refusal(words.replace("WORK", str(tmp_path)).split(), capfd)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.mark.parametrize(
    "command", ["firmware export BUNDLE --as makefile", "firmware BUNDLE --target host --application"]
)
@pytest.mark.parametrize("seconds", NO_DURATION)
def test_a_hop_that_is_no_duration(
    seconds: str, command: str, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*command.replace("BUNDLE", str(bundle)).split(), "--out", str(tmp_path / "out"), f"--hop={seconds}"]
    assert refusal(words, capfd).startswith("error: --hop: invalid value; expected seconds above 0")


@pytest.mark.parametrize("release", NO_RELEASE)
def test_a_release_that_is_not_three_numbers(release: str) -> None:
    with pytest.raises(FirmwareError, match="three numbers"):
        Options(release=release)


@pytest.mark.parametrize("name", EMPTY)
def test_empty_words_are_not_the_current_folder(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    words, where = EMPTY[name]
    assert refusal(words, capfd) == f"error: {where}: empty text; next: give a value, or leave it out"


@pytest.mark.parametrize("change", ["seed: -1", "learning_rate: .inf", "learning_rate: .nan"])
def test_a_recipe_with_numbers_out_of_range(change: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    fields = {"epochs": "1", "batch_size": "16", "learning_rate": "0.1"}
    name, _, value = change.partition(": ")
    path.write_text("".join(f"{key}: {text}\n" for key, text in {"model": "cpm23-8", **fields, name: value}.items()))
    with pytest.raises(TrainingError, match=f"field '{name}'"):
        load_recipe(str(path))


def test_a_recipe_that_was_made_with_words_of_two_lines_loads(tmp_path: Path) -> None:
    best = Candidate(named_config("cpm23-8"), n_bytes=1, macs=1, fill=1.0, distance=0.0)
    _write(
        tmp_path / "fit.yaml", load_recipe("cpm23"), best, "tinyscene recipe fit --like a\nb.yaml\udcff --max-size 1"
    )
    assert load_recipe(str(tmp_path / "fit.yaml")).teachers == load_recipe("cpm23").teachers


def test_a_socket_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("record.json")
        line = refusal(["bench", "compare", "record.json", "record.json"], capfd)
    assert line == "error: record.json: is a socket or a device, not a file; next: check the path"


def test_a_file_is_no_folder_to_create(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").touch()
    line = refusal(["check", "bundle", "--out", str(tmp_path / "taken" / "x.json")], capfd)
    assert "taken is not a folder" in line
    assert "create" not in line


REPORTS = [
    "check MODEL --out", "check MODEL --junit", "check MODEL --markdown", "check MODEL --write-baseline",
    "inspect MODEL --svg", "verify MODEL --out", "verify MODEL --report", "eval MODEL --data WORK --out",
    "bench MODEL --out", "recipe fit --max-size 64kB --out",
]  # fmt: skip


@pytest.mark.parametrize("command", REPORTS)
def test_no_report_takes_the_place_of_a_pipe_or_a_folder(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    words = command.replace("WORK", str(tmp_path)).split()
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/"), Path("..")):
        assert f"error: {path}: cannot be written; got " in refusal([*words, str(path)], capfd)
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("command", REPORTS[:-1])
def test_no_report_takes_the_place_of_a_checkpoint(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "student.pt"
    checkpoint.write_bytes(b"PK\x03\x04 weights")
    line = refusal([*command.replace("WORK", str(tmp_path)).split(), str(checkpoint)], capfd)
    assert "student.pt: exists and is no such report; expected a file that begins with" in line
    assert checkpoint.read_bytes() == b"PK\x03\x04 weights"


@pytest.mark.parametrize("command", REPORTS)
def test_no_report_is_written_into_a_bundle(command: str, bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With one file more it would be refused from then on."""
    line = refusal([*command.replace("WORK", str(bundle)).split(), str(bundle / "new")], capfd)
    assert f"{bundle} is a bundle, which is refused if it has other files" in line


def test_two_reports_are_two_files(bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["check", str(bundle), "--out", str(tmp_path / "x"), "--junit", str(tmp_path / "." / "x")]
    assert "x: is given for two results; next: give each a file of its own" in refusal(words, capfd)


@pytest.mark.parametrize(("content", "code"), [("", 0), ('{"kind": "other"}', 2)])
def test_a_baseline_is_not_written_over_another_record(
    content: str, code: int, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record.json").write_text(content)
    words = ["check", str(bundle), "--max-size", "1MB", "--write-baseline", str(tmp_path / "record.json")]
    assert command_line.main(words) == code
    assert ("next: remove it, or give another file" in capfd.readouterr().err) == (code == 2)
