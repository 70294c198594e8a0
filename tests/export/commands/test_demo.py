"""The demo end to end in small: every stage, its files, its closing table, and going on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinyscene import command_line
from tinyscene.runtime.bundle import read_bundle
from tinyscene.training.synthetic.dataset import SyntheticSettings, write_tau22_layout

RECIPE = """
model: cpm23-8
epochs: 2
batch_size: 32
learning_rate: 2.0e-3
teachers:
  - {model: cpm23-16, epochs: 1, batch_size: 32, learning_rate: 2.0e-3}
  - {model: cpresnet-33k, frontend: cpresnet, padding: torch, epochs: 1, batch_size: 32, learning_rate: 2.0e-3}
qat: {epochs: 2, batch_size: 32, learning_rate: 1.0e-4}
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_tau22_layout(folder / "scenes", SyntheticSettings(0, 4, 1), progress=False)
    (folder / "tiny.yaml").write_text(RECIPE)
    return folder


def run_demo(scratch: Path, capsys: pytest.CaptureFixture[str]) -> str:
    words = ["demo", "--recipe", str(scratch / "tiny.yaml"), "--data", str(scratch / "scenes")]
    code = command_line.main([*words, "--out", str(scratch / "out")])
    out, err = capsys.readouterr()
    assert code == 0, out + err
    return out


def test_the_whole_chain(scratch: Path, capsys: pytest.CaptureFixture[str], needs_tool) -> None:
    needs_tool("gcc", "arm-none-eabi-gcc", "qemu-system-arm")
    out = run_demo(scratch, capsys)
    for line in ("teacher ensemble", "same student without teachers", "student, int8", "size", "macs", "10 of 10"):
        assert line in out, line
    bundle = read_bundle(scratch / "out" / "bundle")
    page = bundle.file("report.html").decode()
    for text in ("c-cortex-m4", "Cost as firmware", "Calls of one inference on cortex-m55", "ethos-u55-128"):
        assert text in page, text
    metric = bundle.manifest.metric
    clips = metric("int8", "clips")
    assert clips is not None
    assert clips == metric("float", "clips")
    assert clips > 0
    assert f"{metric('int8', 'accuracy'):.1%}" in out

    # A second run finds its training done and ends with the same model.
    digest = (scratch / "out" / "bundle" / "model.tflite").read_bytes()
    run_demo(scratch, capsys)
    assert (scratch / "out" / "bundle" / "model.tflite").read_bytes() == digest


def test_the_bundle_of_the_demo_is_one_like_any_other(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = scratch / "out" / "bundle"
    if not bundle.exists():
        pytest.skip("the demo did not run")
    clip = next((scratch / "scenes" / "audio").iterdir())
    assert command_line.main(["run", str(bundle), str(clip), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["clips"]
    assert record["hops"][0]["label"] in read_bundle(bundle).labels
