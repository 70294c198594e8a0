"""The constant arrays of emitted C, read back as the bytes in the memory of a little-endian processor.

They are read from the C text that will be compiled, with the structures and macros of its headers, so that constants of
a new kernel need no change here. Supports numbers, integer arithmetic, and structures whose members have one size.
Refuses anything else.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import FirmwareError

_SCALARS = {
    "int8_t": "b", "uint8_t": "B", "int16_t": "h", "uint16_t": "H", "int32_t": "i", "uint32_t": "I", "float": "f",
}  # fmt: skip
_ARRAY = re.compile(
    r"^static const (?:[A-Z]\w* )?(?P<type>\w+) (?P<name>\w+)(?:\[\w*\])+ = \{(?P<items>.*?)\n\};",
    re.MULTILINE | re.DOTALL,
)
_STRUCTURE = re.compile(r"typedef struct \{(?P<members>[^{}]*)\} (?P<name>\w+);")
_MEMBER = re.compile(r"(?P<name>\w+)(?:\[(?P<count>\d+)\])?")
_MACRO = re.compile(r"^#define (?P<name>\w+)\((?P<parameters>[^)]*)\) (?P<body>(?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_CAST = re.compile(r"\((?:u?int\d+_t|float)\)")
_FLOAT = re.compile(r"\(*(-?)\(*(0x[0-9a-f.]+p[+-]?\d+|\d+\.\d*)f\)*")
_INTEGERS = re.compile(r"[\s\da-fA-Fx+*&|<>()-]+")


@dataclass(frozen=True)
class ConstantArray:
    """One array of the C source and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True)
class _Macro:
    parameters: tuple[str, ...]
    body: str


def constant_arrays(emitted: str, definitions: str) -> list[ConstantArray]:
    """Read every ``static const`` array of emitted C.

    Args:
        emitted: C with the arrays; ``#ifdef`` of the rounding rule is resolved.
        definitions: C with the structures and macros that the arrays use, resolved likewise.

    Raises:
        FirmwareError: see the module's refusals.
    """
    layouts, macros = _layouts(definitions), _macros(definitions)
    arrays = []
    for array in _ARRAY.finditer(emitted):
        name, layout = array["name"], layouts.get(array["type"])
        if layout is None:
            expected = "a scalar, or a structure with members of one size"
            raise FirmwareError(f"constant {name}", "unsupported type", expected=expected, got=array["type"])
        items = _expanded(_COMMENT.sub("", array["items"]), macros)
        values = [_value(name, text) for text in _split(items.replace("{", " ").replace("}", " ")) if text.strip()]
        codes = layout * (len(values) // len(layout))
        if len(codes) != len(values):
            raise FirmwareError(f"constant {name}", "values per element", expected=len(layout), got=len(values))
        arrays.append(ConstantArray(name, _packed(codes, values)))
    return arrays


def _layouts(definitions: str) -> dict[str, str]:
    """C type -> :mod:`struct` codes of its members, without structures that may have padding."""
    layouts = dict(_SCALARS)
    for structure in _STRUCTURE.finditer(definitions):
        codes = ""
        for line in _COMMENT.sub("", structure["members"]).split(";"):
            c_type, _, names = line.strip().partition(" ")
            for name in names.split(",") if names else []:
                member = _MEMBER.fullmatch(name.strip())
                codes += layouts.get(c_type, "?") * int(member["count"] or 1) if member else "?"
        if codes and "?" not in codes and len({struct.calcsize(code) for code in codes}) == 1:
            layouts[structure["name"]] = codes
    return layouts


def _macros(definitions: str) -> dict[str, _Macro]:
    return {
        macro["name"]: _Macro(
            tuple(parameter.strip() for parameter in macro["parameters"].split(",")), macro["body"].replace("\\\n", " ")
        )
        for macro in _MACRO.finditer(definitions)
    }


def _expanded(text: str, macros: Mapping[str, _Macro]) -> str:
    """The text with function-like macros expanded."""
    pieces, at = [], 0
    for call in re.finditer(r"\b([A-Z]\w*)\(", text):
        if call.start() < at:
            continue
        if call[1] not in macros:
            raise FirmwareError("constants", "unknown macro", got=call[1])
        end = _closing(text, call.end())
        macro, arguments = macros[call[1]], [part.strip() for part in _split(text[call.end() : end])]
        body = _filled(macro.body, dict(zip(macro.parameters, arguments, strict=True)))
        pieces += [text[at : call.start()], _expanded(body, macros)]
        at = end + 1
    return "".join([*pieces, text[at:]])


def _filled(body: str, arguments: Mapping[str, str]) -> str:
    return re.sub(r"[A-Za-z_]\w*", lambda word: arguments.get(word[0], word[0]), body)


def _closing(text: str, at: int) -> int:
    """Index of the parenthesis that closes the one before ``at``."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at - 1


def _split(text: str) -> Iterator[str]:
    """Split at the commas outside of parentheses."""
    if "(" not in text:
        yield from text.split(",")
        return
    depth, begin = 0, 0
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            yield text[begin:at]
            begin = at + 1
    yield text[begin:]


def _value(name: str, text: str) -> int | float:
    """A number, or the result of integer arithmetic; ``_packed`` applies the size of the type."""
    text = _CAST.sub("", text).strip()
    if (number := _FLOAT.fullmatch(text)) is not None:
        return float.fromhex(number[1] + number[2]) if "x" in number[2] else float(number[1] + number[2])
    text = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)u\b", r"\1", text)
    if not _INTEGERS.fullmatch(text):
        raise FirmwareError(f"constant {name}", "unsupported value", expected="integer arithmetic", got=text)
    return int(text) if text.lstrip("-").isdigit() else int(eval(text, {"__builtins__": {}}))


def _packed(codes: str, values: list[int | float]) -> bytes:
    return struct.pack(f"<{codes}", *(_wrapped(code, value) for code, value in zip(codes, values, strict=True)))


def _wrapped(code: str, value: int | float) -> int | float:
    """An integer reduced to the range of its type, as in C."""
    if code == "f":
        return value
    bits = 8 * struct.calcsize(code)
    wrapped = int(value) % (1 << bits)
    return wrapped - (1 << bits) if code.islower() and wrapped >> (bits - 1) else wrapped
