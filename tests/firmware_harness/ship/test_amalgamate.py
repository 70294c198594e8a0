"""Amalgamation: removed text, inlined headers, renamed names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.ship.amalgamate import Source, amalgamate, file_scope_names, resolve


def test_known_macros_in_other_conditions_become_numbers() -> None:
    text = "#if defined(A) && !defined(C)\none\n#elif defined(B)\ntwo\n#endif\n"
    assert resolve(text, {"A": True, "B": False}) == "#if 1 && !defined(C)\none\n#elif 0\ntwo\n#endif\n"


def test_known_macros_are_resolved_and_others_kept() -> None:
    text = (
        "#ifdef A\none\n#if X\ntwo\n#else\nthree\n#endif\n#else\nfour\n#ifndef B\nfive\n#endif\n#endif\n"
        "#ifndef A\nsix\n#endif\n#ifdef C\nseven\n#endif\n"
    )
    assert resolve(text, {"A": True, "B": False}) == "one\n#if X\ntwo\n#else\nthree\n#endif\n#ifdef C\nseven\n#endif\n"
    assert resolve(text, {"A": False, "B": False}) == "four\nfive\nsix\n#ifdef C\nseven\n#endif\n"


def test_file_scope_names_are_those_declared_by_the_file() -> None:
    text = """
/* int comment(void); */
#define MACRO(x) ((x) + hidden(x))
enum { FIRST = 1, SECOND };
typedef struct { int member; } Record;
typedef char checked[sizeof(Record) == 4 ? 1 : -1];
static int counter;
static const Record table[] = {{1}, {2}};
static int helper(int parameter) { int local = parameter; return local + counter; }
void ts_public(void) { helper(table[0].member); }
"""
    names = set(file_scope_names(text))
    assert names == {"FIRST", "SECOND", "Record", "checked", "counter", "table", "helper"}


@pytest.mark.needs_tool("gcc")
def test_files_with_equal_names_become_one_that_compiles_and_exports_nothing(tmp_path: Path) -> None:
    header = (
        "#ifndef H\n#define H\n#include <stdint.h>\nint ts_a(int x);\nint ts_b(int x);\nint ts_unused(void);\n#endif\n"
    )
    first = (
        '#include "ts.h"\n#define TWICE(x) (2 * (x))\nenum { STEP = 1 };\ntypedef struct { int step; } State;\n'
        "static int step(State state) { return state.step + STEP; }\n"
        "int ts_a(int x) { State s = {.step = x}; return TWICE(step(s)); }\nint ts_unused(void) { return 0; }\n"
    )
    second = (
        '#include "ts.h"\n#define TWICE(x) (3 * (x))\nenum { STEP = 10 };\ntypedef struct { int step; } State;\n'
        "static int step(State* state) { return state->step + STEP; }\n"
        "int ts_b(int x) { State s = {x}; return TWICE(step(&s)); }\n"
    )
    text = amalgamate([Source("ts_one.c", first), Source("ts_two.c", second)], {"ts.h": header}, {})
    main = "int both(int);\nint both(int x) { return 1000 * ts_a(x) + ts_b(x); }\n"
    main += "int main(void) { return both(1) != 4033; }\n"
    source = tmp_path / "one.c"
    source.write_text(f"#define TS_LOCAL static __attribute__((unused))\n{text}{main}")
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wshadow", "-Werror"]
    subprocess.run(["gcc", *strict, source, "-o", tmp_path / "one"], check=True)
    assert subprocess.run([tmp_path / "one"], check=False).returncode == 0
    names = subprocess.run(["nm", "-g", "--defined-only", tmp_path / "one"], capture_output=True, text=True, check=True)
    assert "both" in names.stdout
    assert "ts_" not in names.stdout


def test_a_missing_header_is_named() -> None:
    with pytest.raises(FirmwareError, match=r"header gone\.h: included, but missing"):
        amalgamate([Source("a.c", '#include "gone.h"\n')], {}, {})
