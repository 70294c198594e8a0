"""The constants of a C file as one structure: its type and its definition.

A structure has no addresses and no padding, so that its bytes are known when it is emitted, see
:mod:`.constant_bytes`. Arrays are filled with zeros up to whole words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .c_text import LINE_COLUMNS, comment, identifier

ROUNDING_MACRO = "TS_ROUNDING_SINGLE"
PER_WORD = {"int8_t": 4, "uint8_t": 4, "int16_t": 2, "uint16_t": 2}
INDENT = "    "


class ConstantBlock:
    """Members of a structure, in order: their declarations and their initialisers, as lines of C."""

    def __init__(self) -> None:
        self.declarations: list[str] = []
        self.initialisers: list[str] = []

    def comment(self, text: str) -> None:
        """A line above the next initialiser."""
        self.initialisers += ["", f"{INDENT}/* {comment(text)} */"]

    def array(self, c_type: str, name: str, texts: Iterable[str]) -> None:
        """An array of the given elements, lines filled up to ``LINE_COLUMNS``."""
        elements, step = list(texts), PER_WORD.get(c_type, 1)
        self.declarations.append(
            f"{INDENT}{identifier(c_type)} {identifier(name)}[{-(-len(elements) // step) * step}];"
        )
        self.initialisers += [f"{INDENT}.{name} = {{", *_filled(elements), f"{INDENT}}},"]

    def record(self, c_type: str, name: str, fields: Iterable[str]) -> None:
        """A record, with the lines that initialise its fields."""
        self.declarations.append(f"{INDENT}{identifier(c_type)} {identifier(name)};")
        self.initialisers += [f"{INDENT}.{name} = {{", *fields, f"{INDENT}}},"]

    def by_rule(self, single: ConstantBlock, double: ConstantBlock) -> None:
        """Members that depend on the rounding rule."""
        same = single.declarations == double.declarations
        self.declarations += double.declarations if same else by_rule(single.declarations, double.declarations)
        self.initialisers += by_rule(single.initialisers, double.initialisers)

    def lines(self, c_type: str, name: str) -> Iterator[str]:
        """The type ``c_type`` and the definition of ``name``."""
        yield "typedef struct {"
        yield from self.declarations
        yield f"}} {identifier(c_type)};\n"
        yield f"static const {c_type} {identifier(name)} = {{"
        yield from self.initialisers
        yield "};"


def by_rule(single: Iterable[str], double: Iterable[str]) -> Iterator[str]:
    """Lines of both rounding rules; the build selects one."""
    yield f"#ifdef {ROUNDING_MACRO}"
    yield from single
    yield "#else"
    yield from double
    yield "#endif"


def _filled(texts: list[str]) -> Iterator[str]:
    start = 2 * INDENT[:-1]
    line = start
    for text in texts:
        if len(line) + len(text) + 2 > LINE_COLUMNS:
            yield line
            line = start
        line += f" {text},"
    yield line
