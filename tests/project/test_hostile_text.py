"""Labels, model names, scenes and file names with control characters: escaped wherever they are shown or written."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.runtime.bundle import Bundle, BundleContent, write_bundle
from tinyscene.runtime.file_names import ONNX_MODEL, TFLITE_MODEL
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.printable import printable

HOSTILE = "bus\x1b]0;title\x07\x1b[2J\r\u202e\x9b\u2028<img src=x onerror=alert(1)>[a](https://h.example)`|:bus:[/red]"
LABELS = tuple(f"{HOSTILE}{i}" for i in range(10))
FILE = "clip\x1b[31m\nerror: all lost.wav"  # two lines


@pytest.fixture(scope="module")
def hostile(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose name and labels are hostile."""
    graph = replace(tiny_bundle.graph, name=HOSTILE, labels=LABELS)
    files = tiny_bundle.file(TFLITE_MODEL), tiny_bundle.file(ONNX_MODEL)
    content = BundleContent(graph, tiny_bundle.frontend, *files, tiny_bundle.golden())
    path = tmp_path_factory.mktemp("hostile") / "bundle"
    write_bundle(path, content, Provenance("noise", {}, {}))
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    samples = np.random.default_rng(0).uniform(-0.4, 0.4, 32_000 * 2)
    soundfile.write(folder / "clip.wav", samples, 32_000)
    shutil.copy(folder / "clip.wav", folder / FILE)
    return folder


def printed(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Standard output and error of a command; every line of them is visible text."""
    code = command_line.main(words)
    out, err = capfd.readouterr()
    assert code in (0, 1, 2)
    for line in (*out.split("\n"), *err.split("\n")):
        assert line.replace("\t", "") == printable(line.replace("\t", "")), line
        assert not line.startswith("error: all lost")
    assert "defect" not in err
    return out, err


def test_check_and_its_files(hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(hostile, tmp_path / HOSTILE.replace("/", ""))
    model = tmp_path / HOSTILE.replace("/", "")
    junit, markdown = tmp_path / "check.xml", tmp_path / "check.md"
    printed(["check", str(model), "--junit", str(junit), "--markdown", str(markdown)], capfd)
    assert r"\x1b[2J" in ElementTree.parse(junit).getroot()[0].attrib["classname"]
    text = markdown.read_text()
    assert text.replace("\n", "") == printable(text.replace("\n", ""))
    assert "<img" not in text
    assert "](" not in text.replace("\\]", "")


def test_inspect_and_its_picture(hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    svg = tmp_path / "net.svg"
    out, _ = printed(["inspect", str(hostile), "--svg", str(svg)], capfd)
    assert r"\x1b[2J" in out
    assert ":bus:" in out
    assert not list(ElementTree.parse(svg).getroot().iter("{http://www.w3.org/2000/svg}img"))


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"]], ids=lambda words: " ".join(words) or "lines")
def test_run(options: list[str], hostile: Path, recordings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clips = [str(recordings / name) for name in ("clip.wav", FILE, "no\udcfe\n.wav")]
    out, err = printed(["run", str(hostile), *clips, "--engine", "litert", *options], capfd)
    assert r"\x1b" in out or r"\u001b" in out
    assert r"no\udcfe\x0a.wav" in err
    if options == ["--quiet"]:
        assert [len(line.split("\t")) for line in out.splitlines()] == [3, 3]


def test_verify_and_its_report(hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page, markdown = tmp_path / "report.html", tmp_path / "report.md"
    files = ["--report", str(page), "--markdown", str(markdown)]
    printed(["verify", str(hostile), "--targets", "numpy-single", *files], capfd)
    for path in (page, markdown):
        text = path.read_text().replace("\n", "").replace("\t", "")
        assert text == printable(text)
        assert "<img" not in text


@pytest.mark.slow
def test_quality(hostile: Path, recordings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(["quality", str(hostile), "--recordings", str(recordings), "--clips", "2"], capfd)
    assert r"\x1b[2J" in out


def _other_scene(folder: Path, change: Callable[[str], str]) -> None:
    for path in (folder / "evaluation_setup").iterdir():
        rows = list(csv.reader(path.read_text().splitlines(), delimiter="\t"))
        rows[1:] = [
            [name.replace("bus", change("bus")), scene.replace("bus", change("bus"))] for name, scene in rows[1:]
        ]
        with open(path, "w", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


def test_data_check_and_eval(hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_layout(tmp_path / "tau", places=2, clips=1)
    _other_scene(folder, lambda scene: f"{scene}\x1b[2J\x9b\u202e")
    out, _ = printed(["data", "check", str(folder)], capfd)
    assert r"bus\x1b[2J\x9b\u202e" in out
    _, err = printed(["eval", str(hostile), "--data", str(folder)], capfd)
    assert err.startswith("error: ")


def test_data_cut_refuses_scenes_that_cannot_be_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for scene in ("park", "bus\x1b[2J"):
        (tmp_path / "in" / scene).mkdir(parents=True)
        for name in ("a.wav", "b.wav"):
            soundfile.write(tmp_path / "in" / scene / name, np.zeros(44_100), 44_100)
    _, err = printed(["data", "cut", str(tmp_path / "in"), "--out", str(tmp_path / "out")], capfd)
    assert "control characters in the name of a scene" in err
