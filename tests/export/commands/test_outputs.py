"""Outputs are never inputs: an existing model or recording stays as it is, under whatever name it is given."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.graphs import small_net
from tinyscene import command_line
from tinyscene.runtime.tflite_write import to_tflite
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import MODELS


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "m.pt"
    torch.save({f"model.{name}": tensor for name, tensor in build_model(MODELS["cpm23-8"]).state_dict().items()}, path)
    return path


def refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    assert command_line.main(words) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    return line


def test_import_writes_another_file_by_default(published, capfd):
    before = published.read_bytes()
    for overwrite in ([], ["--overwrite"]):
        assert command_line.main(["import", str(published), *overwrite]) == 0
        assert published.read_bytes() == before
    assert (published.parent / "m-imported.pt").is_file()
    assert "m-imported.pt: CP-Mobile base 8" in capfd.readouterr().out


def test_import_as_json(published, capfd):
    assert command_line.main(["import", str(published), "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert record["model"]["base_channels"] == 8
    assert record["parameters"] == 6086


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_import_never_overwrites_its_input(link, published, tmp_path, capfd):
    out, before = tmp_path / "other.pt", published.read_bytes()
    if link == "symbolic":
        out.symlink_to(published)
    elif link == "hard":
        os.link(published, out)
    else:
        out = tmp_path / "." / "m.pt"
    words = ["import", str(published), "--overwrite", "--out", str(out)]
    assert "is an input of this command" in refused(words, capfd)
    assert published.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["check", "{model}", "--out", "{model}"],
        ["check", "{model}", "--max-size", "1MB", "--junit", "{model}"],
        ["inspect", "{model}", "--svg", "{model}"],
        ["verify", "{model}", "--out", "{model}"],
        ["verify", "{model}", "--markdown", "{model}"],
    ],
    ids=" ".join,
)
def test_reports_never_overwrite_the_model(words, tmp_path, capfd):
    model = tmp_path / "net.tflite"
    model.write_bytes(to_tflite(small_net(np.random.default_rng(0), grn=False)))
    before = model.read_bytes()
    message = refused([word.format(model=model) for word in words], capfd)
    assert "is an input of this command" in message or "exists and is no such report" in message
    assert model.read_bytes() == before
