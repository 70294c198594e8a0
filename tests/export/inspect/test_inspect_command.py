"""``tinyscene inspect`` from the command line: table, JSON, picture, one line for an error."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.cells import cell_len

from tests.graphs import small_net
from tinyscene.command_line import main
from tinyscene.export.inspect.table import Column, fitted
from tinyscene.runtime.terminal import PIPED_WIDTH
from tinyscene.runtime.tflite_write import to_tflite


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("inspect") / "scene.tflite"
    path.write_bytes(to_tflite(small_net(np.random.default_rng(2), grn=True)))
    return path


def _run(words: list[str], capsys) -> list[str]:
    assert main(["inspect", *words]) == 0
    printed: str = capsys.readouterr().out
    return printed.splitlines()


def test_the_table_fits_into_what_a_pipe_shows(model, capsys):
    lines = _run([str(model)], capsys)
    n_nodes = len(small_net(np.random.default_rng(2), grn=True).nodes)
    head = lines[1].split()
    assert head == ["#", "node", "op", "output", "scale", "zero", "MACs", "bytes", "kernel", "(dsp)"]
    assert [int(line.split()[0]) for line in lines[3 : 3 + n_nodes]] == list(range(1, n_nodes + 1))
    assert max(map(cell_len, lines[1:])) <= PIPED_WIDTH


def test_wide_shows_every_column(model, capsys):
    head = _run([str(model), "--wide"], capsys)[1]
    assert {"window", "stride", "detail", "reads", "parameters", "type"} <= set(head.split())


@pytest.mark.parametrize(
    ("words", "cpu"),
    [([], "dsp"), (["--cpu", "mve"], "mve"), (["--target", "riscv32"], "c99"), (["--cpu", "c99"], "c99")],
)
def test_kernels_of_a_kernel_set_or_a_target(words, cpu, model, capsys):
    record = json.loads("\n".join(_run([str(model), "--json", *words], capsys)))
    assert record["firmware"]["cpu"] == cpu


def test_one_of_two_ways_to_choose_kernels(model, capsys):
    assert main(["inspect", str(model), "--cpu", "c99", "--target", "host"]) == 2
    assert "--cpu and --target exclude each other" in capsys.readouterr().err


def test_a_picture_is_written_whole_or_not_at_all(model, tmp_path, capsys):
    picture = tmp_path / "net.svg"
    lines = _run([str(model), "--svg", str(picture)], capsys)
    assert lines[-1].endswith(str(picture))
    assert ElementTree.parse(picture).getroot().get("width")
    assert [path.name for path in tmp_path.iterdir()] == ["net.svg"]
    assert main(["inspect", str(model), "--svg", str(tmp_path / "missing" / "net.svg")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_error_is_one_line(tmp_path, capsys):
    (tmp_path / "a.onnx").write_bytes(b"no")
    for path in (tmp_path / "a.onnx", tmp_path / "missing.tflite", tmp_path):
        assert main(["inspect", str(path)]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_columns_are_left_out_before_names_become_unreadable():
    columns = [
        Column("#", ("1",)),
        Column("node", ("a" * 40 + "end",)),
        Column("scale", ("0.01",)),
        Column("zero", ("-128",)),
    ]
    kept, left_out = fitted(columns, 24)
    assert (left_out, [column.heading for column in kept]) == (["zero"], ["#", "node", "scale"])
    assert kept[1].cells[0].startswith("…")
    assert kept[1].cells[0].endswith("end")
    assert fitted(columns, 80) == (columns, [])
