"""Text from files: one escape for control characters, used at every border, and no way around it to the terminal."""

from __future__ import annotations

import ast
import unicodedata
from pathlib import Path

import pytest

from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.markdown import cell, table
from tinyscene.runtime.printable import printable
from tinyscene.runtime.terminal import Column, console, echo, notes, print_table, say

HOSTILE = "bus\x1b[2J\r\nerror: \x9b1m\x7f\x85\u2028\u202e\u2066\udc80 :bus: [red]"
SHOWN = r"bus\x1b[2J\x0d\x0aerror: \x9b1m\x7f\x85\u2028\u202e\u2066\udc80 :bus: [red]"
PACKAGES = ("export", "firmware_harness", "runtime", "tinyscene", "training")
# Written to files: the checksums of the decoded clips, the program that runs in another environment, and a schema; or
# to a pipe: what an image prints, by the programs that stand for its machine.
PRINTS = {
    "export/report/records.py",
    "export/targets/environments.py",
    "firmware_harness/run/wasm/in_chromium.py",
    "firmware_harness/run/wasm/in_wasmtime.py",
    "runtime/terminal.py",
    "tinyscene/command_line.py",
    "training/data/decode.py",
}


def test_control_and_direction_characters_are_escaped() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable(printable(HOSTILE)) == SHOWN
    for code in [*range(0x110000)]:
        character = chr(code)
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in (
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        ):
            assert printable(character).isascii(), hex(code)


@pytest.mark.parametrize("text", ["straße (µ)", "街路 🚌", "شارع", "a\u00a0b", "\\x1b", "e\u0301", "می\u200cشود"])
def test_visible_text_of_every_script_stays(text: str) -> None:
    assert printable(text) == text


def test_an_error_and_its_fields_are_one_line() -> None:
    message = str(TinysceneError(HOSTILE, f"of {HOSTILE}", expected=HOSTILE, got=HOSTILE, next_step=HOSTILE))
    assert message.startswith(f"{SHOWN}: of bus")
    assert message == printable(message)
    assert str(TinysceneError("cc", "failed", got="line 1\n  line 2\n")) == "cc: failed; got line 1 line 2"


def test_lines_notes_and_tables_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    echo(HOSTILE)
    echo(HOSTILE, err=True)
    notes(HOSTILE, [HOSTILE])
    say(console(), HOSTILE)
    print_table(HOSTILE, [Column(HOSTILE, footer=HOSTILE, wraps=True)], [(HOSTILE,)], every_column=True)
    out, err = capsys.readouterr()
    assert printable(out.replace("\n", "")) == out.replace("\n", "")
    assert out.splitlines()[:2] == [SHOWN, SHOWN]
    assert out.count(SHOWN) == 6
    assert err.splitlines() == [SHOWN, f"note: {SHOWN}: {SHOWN}"]


def test_a_cell_adds_no_column_html_or_link() -> None:
    assert cell("a|b\nc\\") == "a\\|b c\\\\"
    assert cell("<img src=x onerror=y>&lt;") == "&lt;img src=x onerror=y>&amp;lt;"
    assert cell("[x](https://h.example) `c` www.h.example") == (
        "\\[x\\](https:&#47;/h.example) \\`c\\` www&#46;h.example"
    )
    (head, _, row) = table(["label"], [[HOSTILE]])
    assert head == "| label |"
    assert printable(row) == row


def _prints(path: Path) -> list[int]:
    """Lines that print, or make a console, without the functions of runtime/terminal.py."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("print", "Console", "typer.echo", "sys.stdout.write", "sys.stderr.write"):
                lines.append(node.lineno)
    return lines


def test_text_reaches_the_terminal_through_one_file(repository: Path) -> None:
    files = [path for package in PACKAGES for path in (repository / package).rglob("*.py") if not path.is_symlink()]
    found = {str(path.relative_to(repository)): lines for path in files if (lines := _prints(path))}
    outside = {name: lines for name, lines in found.items() if name not in PRINTS and "/workers/" not in name}
    assert outside == {}
