"""Files of other makers, kept outside of the repository: each runs everywhere, or is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tinyscene import command_line
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_model import open_tflite

TARGETS = "numpy-double,numpy-single,litert,litert-reference,tflm,ort"
IMPOSSIBLE = ("defect", "train it again", "export it again", "tinyscene export", "convert the float model")


def folder() -> Path | None:
    shared = os.environ.get("TINYSCENE_SHARED")
    data = Path(shared) if shared else Path(__file__).parents[4] / "shared" / "data"
    cases = data.parent / "cases" / "tflite"
    return cases if cases.is_dir() else None


def files() -> list[Path]:
    cases = folder()
    return sorted(cases.glob("*.tflite")) if cases else []


def refusal(path: Path) -> str:
    """The message that refuses the file as an int8 network; empty if it is read."""
    try:
        open_tflite(path)
    except ExportError as problem:
        return str(problem)
    return ""


@pytest.mark.skipif(not files(), reason="the cases are missing (TINYSCENE_SHARED names the folder beside)")
def test_each_case_is_read_or_refused_in_one_line():
    messages = {path.stem: refusal(path) for path in files()}
    assert all("\n" not in message for message in messages.values())
    assert not [name for name, text in messages.items() if any(words in text for words in IMPOSSIBLE)]
    for name, operator in (("uint8_act", "CONV_2D"), ("concat_diff", "CONCATENATION")):
        assert operator in messages[name]
    read = ("avg_same", "mul_self", "unused_branch", "no_ops", "dead_zero", "dead_1e-12", "dead_branch", "int4_weight")
    read += ("big_factor", "shared", "dead_relu")
    assert not "".join(messages[name] for name in read)


@pytest.mark.slow
@pytest.mark.needs_module("tflite_micro", "onnxruntime")
@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_each_case_through_the_commands(path, capfd):
    for words in (["check", str(path)], ["inspect", str(path)], ["verify", str(path), "--targets", TARGETS, "--json"]):
        code = command_line.main(words)
        out, err = capfd.readouterr()
        assert code in (0, 1, 2, 3)
        assert not any(text in err for text in IMPOSSIBLE), err
        if words[0] == "verify" and not refusal(path):
            rows = json.loads(out)["verification"]["results"]
            assert [row["target"] for row in rows] == TARGETS.split(",")
            assert {row["status"] for row in rows} <= {"equal", "named exception", "refused"}
