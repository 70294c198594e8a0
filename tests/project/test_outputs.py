"""Every command of the table refuses an output that is one of its inputs, before it does anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.export.commands.test_outputs import refused
from tinyscene import command_line
from tinyscene.command_table import COMMANDS
from tinyscene.outputs import OUTPUTS


def parameters(name: str) -> list[Any]:
    command = next(row for row in COMMANDS if row.name == name)
    found: Any = typer.main.get_command(command_line._application(command))
    for word in name.split():
        found = found.commands[word]
    return [each for each in found.params if is_path(each) or each.required]


def is_path(parameter: Any) -> bool:
    return "Path" in str(parameter.type_descriptor.annotation)


def pairs() -> Iterator[tuple[str, Any, Any]]:
    """Command, output and input, for each command that has both."""
    for row in COMMANDS:
        paths = [each for each in parameters(row.name) if is_path(each)]
        read = [each for each in paths if each.name not in OUTPUTS]
        yield from ((row.name, out, each) for out in paths if out.name in OUTPUTS for each in read)


def words_of(command: str, given: dict[str, Path]) -> list[str]:
    """The command line with these paths; every other parameter that is needed has one that does not exist."""
    words = command.split()
    for each in parameters(command):
        if each.name in given or each.required:
            value = str(given.get(each.name, "missing"))
            words += [each.opts[0], value] if each.opts[0].startswith("-") else [value]
    return words


def test_no_output_is_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    file, folder, link = tmp_path / "file", tmp_path / "folder", tmp_path / "link"
    file.touch()
    folder.mkdir()
    (folder / "read").touch()
    for command, output, read in pairs():
        place = folder if output.metavar == "DIR" else file
        link.unlink(missing_ok=True)
        link.symlink_to(place)
        given = [(place, place), (link, place)] + ([] if place is folder else [(folder / "read", folder)])
        for out, source in given:
            message = refused(words_of(command, {output.name: out, read.name: source}), capfd)
            assert message == f"error: {out}: is an input of this command; got {source}; next: give another path", (
                command
            )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "link", "read"]


def test_a_recipe_is_not_replaced_by_one_made_from_it(tmp_path: Path, capfd: Any) -> None:
    """An input that is a text: the name of a recipe, or a file."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: cpm23-8\n")
    words = ["recipe", "fit", "--max-size", "64kB", "--like", str(recipe), "--overwrite", "--out", str(recipe)]
    assert "is an input of this command" in refused(words, capfd)
    assert recipe.read_text() == "model: cpm23-8\n"


def test_every_path_that_is_written_is_known() -> None:
    """An option whose help says that it is written is in OUTPUTS, and nothing else is."""
    for row in COMMANDS:
        for each in parameters(row.name):
            help_text = getattr(each, "help", "") or ""
            written = help_text.startswith("Write ") or "to write" in help_text or "Run folder" in help_text
            written |= help_text in (
                "Folder for all output files.",
                "Folder for the C sources; MODEL-firmware by default.",
            )
            assert written == (each.name in OUTPUTS), (row.name, each.name)


def test_two_results_in_one_file_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x")
    for words in (
        ["check", "m.tflite", "--out", out, "--junit", out],
        ["eval", "m", "--data", "d", "--out", out, "--report", out],
    ):
        assert "is given for two results" in refused(words, capfd)


FOREIGN = {  # what already exists in "folder", command, message
    "a demo beside a bundle": ("bundle/manifest.json", "demo --out folder", "exists and is not the folder of a demo"),
    "a demo among files": ("notes.txt", "demo --out folder", "exists and is not the folder of a demo"),
    "a demo in place of a file": ("file", "demo --out folder/file", "is not the folder of a demo; got a file"),
    "a run that is none": (
        "student.pt",
        "train demo --data d --out folder --resume",
        "has files, and no run to resume",
    ),
    "a run in the clips": ("a.wav", "teachers train demo --data d --out folder --resume", "has files, and no run"),
    "a run in a used folder": ("run.json", "train demo --data d --out folder", "the run folder is not empty"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_files_of_others_stays_as_it_is(name, tmp_path, monkeypatch, capfd):
    file, words, message = FOREIGN[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder" / file).parent.mkdir(parents=True)
    (tmp_path / "folder" / file).write_text("{}")
    assert message in refused(words.split(), capfd)
    assert [path.name for path in (tmp_path / "folder").rglob("*") if path.is_file()] == [Path(file).name]
