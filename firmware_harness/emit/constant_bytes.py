"""The bytes of an emitted structure of constants in memory, and their CRC-32.

They are read from the C text that will be compiled, with the structures and macros of its headers, so that records and
constants of a new kernel need no change here. Supports numbers, integer arithmetic, arrays, nested structures and
``TS_TO``. Refuses anything else, and structures with padding.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..errors import FirmwareError

SCALARS = {
    "int8_t": "b", "uint8_t": "B", "int16_t": "h", "uint16_t": "H", "int32_t": "i", "uint32_t": "I", "float": "f",
}  # fmt: skip
_ALIASES = {"TsOffset": "int32_t"}
_WORD_BYTES = 4
_STRUCTURE = re.compile(r"typedef struct \{(?P<members>[^{}]*)\} (?P<name>\w+);")
_DECLARATOR = re.compile(r"(?P<name>\w+)(?:\[(?P<count>\d+)\])?")
_MACRO = re.compile(r"^#define (?P<name>\w+)\((?P<parameters>[^)]*)\) (?P<body>(?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_CAST = re.compile(r"\((?:u?int\d+_t|float)\)")
_FLOAT = re.compile(r"\(*(-?)\(*(0x[0-9a-f.]+p[+-]?\d+|\d+\.\d*)f\)*")
_INTEGERS = re.compile(r"[\s\da-fA-Fx+*&|<>()-]+")
_TO = re.compile(r"\bTS_TO\(([\w.]+), ([\w.]+)\)")
_DESIGNATED = re.compile(r"\s*\.(\w+) =(.*)", re.DOTALL)

Number = int | float


@dataclass(frozen=True)
class ConstantMember:
    """One member of a structure and its bytes in memory, on processors of either byte order."""

    name: str
    little: bytes
    big: bytes


@dataclass(frozen=True)
class ConstantBytes:
    """A structure of constants: its members in order."""

    members: tuple[ConstantMember, ...]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum(len(member.little) for member in self.members)

    @property
    def crc32(self) -> tuple[int, int]:
        """CRC-32 (as zlib's) of all bytes in memory: little-endian, big-endian."""
        little = zlib.crc32(b"".join(member.little for member in self.members))
        return little, zlib.crc32(b"".join(member.big for member in self.members))


def constant_bytes(emitted: str, name: str, definitions: str, known_macros: Mapping[str, bool]) -> ConstantBytes:
    """Read the structure ``name`` of emitted C.

    Args:
        emitted: C with the structure's type and its definition ``static const TYPE name = {...};``.
        name: of the variable.
        definitions: C with the types and macros that it uses.
        known_macros: whether each of these macros is defined, for ``#ifdef`` lines.

    Raises:
        FirmwareError: see the module's refusals.
    """
    emitted = resolve(emitted, known_macros)
    definition = re.search(rf"^static const (\w+) {name} = (\{{.*?^\}});", emitted, re.MULTILINE | re.DOTALL)
    if definition is None:
        raise FirmwareError(f"constants {name}", "no definition in the emitted C")
    base = _definitions(definitions, tuple(sorted(known_macros.items())))
    reader = _Reader(base.types | _structures(emitted), base.macros, definition[1])
    return ConstantBytes(tuple(reader.members(_COMMENT.sub("", definition[2]))))


def crc32_macro(name: str, little: int, big: int) -> list[str]:
    """Lines that define a macro as the checksum for the byte order of the processor."""
    return [
        "#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__",
        f"#define {name} 0x{big:08x}u",
        "#else",
        f"#define {name} 0x{little:08x}u",
        "#endif",
    ]


def resolve(text: str, known_macros: Mapping[str, bool]) -> str:
    """Remove text that ``#ifdef`` and ``#ifndef`` of known macros exclude, and these lines themselves.

    In other conditions, ``defined`` of a known macro becomes 1 or 0.
    """
    kept, open_blocks = [], []  # for each open #if: None if it is kept, else whether its present branch is taken
    for line in text.splitlines(keepends=True):
        words = line.split(maxsplit=2)
        directive = words[0] if words else ""
        if directive in ("#if", "#ifdef", "#ifndef"):
            known = directive != "#if" and words[1] in known_macros
            open_blocks.append((known_macros[words[1]] == (directive == "#ifdef")) if known else None)
            if known:
                continue
        elif directive in ("#else", "#elif") and open_blocks and open_blocks[-1] is not None:
            open_blocks[-1] = not open_blocks[-1]
            continue
        elif directive == "#endif" and open_blocks.pop() is not None:
            continue
        if all(taken is not False for taken in open_blocks):
            kept.append(_with_known(line, known_macros) if directive in ("#if", "#elif") else line)
    return "".join(kept)


def _with_known(line: str, known_macros: Mapping[str, bool]) -> str:
    def known(use: re.Match[str]) -> str:
        return str(int(known_macros[use[1]])) if use[1] in known_macros else use[0]

    return re.sub(r"defined\((\w+)\)", known, line)


@dataclass(frozen=True)
class _Macro:
    parameters: tuple[str, ...]
    body: str


@dataclass(frozen=True)
class _Declared:
    """One member of a structure; ``count``: of an array, otherwise None."""

    name: str
    c_type: str
    count: int | None


@dataclass(frozen=True)
class _Definitions:
    types: dict[str, tuple[_Declared, ...]]
    macros: dict[str, _Macro]


@lru_cache(maxsize=16)
def _definitions(text: str, known_macros: tuple[tuple[str, bool], ...]) -> _Definitions:
    text = resolve(text, dict(known_macros))
    macros = {
        macro["name"]: _Macro(
            tuple(parameter.strip() for parameter in macro["parameters"].split(",")), macro["body"].replace("\\\n", " ")
        )
        for macro in _MACRO.finditer(text)
    }
    return _Definitions(_structures(text), macros)


def _structures(text: str) -> dict[str, tuple[_Declared, ...]]:
    """The structures of a C text whose members are scalars, structures, and arrays of them."""
    found = {}
    for structure in _STRUCTURE.finditer(text):
        members = []
        for line in _COMMENT.sub("", structure["members"]).split(";"):
            c_type, _, names = line.strip().partition(" ")
            for name in names.split(",") if names else []:
                declarator = _DECLARATOR.fullmatch(name.strip())
                known = declarator is not None and not c_type.startswith("#")
                count = declarator["count"] if declarator is not None else None
                members.append(
                    _Declared(declarator["name"], _ALIASES.get(c_type, c_type), int(count) if count else None)
                    if declarator is not None and known
                    else _Declared(name, "?", None)
                )
        found[structure["name"]] = tuple(members)
    return found


@dataclass(frozen=True)
class _Reader:
    """Reads initialisers of one structure type."""

    types: Mapping[str, tuple[_Declared, ...]]
    macros: Mapping[str, _Macro]
    c_type: str

    def members(self, text: str) -> Iterator[ConstantMember]:
        """The members of the structure initialised by ``text``."""
        given = self._given(self.types[self.c_type], text, "")
        for member in self.types[self.c_type]:
            codes = self._codes(member)
            values = self._values(member, given.get(member.name, "{}"))
            packed = [_wrapped(code, value) for code, value in zip(codes, values, strict=True)]
            little, big = (struct.pack(f"{order}{codes}", *packed) for order in "<>")
            if len(little) % _WORD_BYTES:
                raise FirmwareError(f"constant {member.name}", "not a whole number of words", got=f"{len(little)} B")
            yield ConstantMember(member.name, little, big)

    def _codes(self, member: _Declared) -> str:
        """:mod:`struct` codes of the scalars of a member."""
        if member.c_type in SCALARS:
            one = SCALARS[member.c_type]
        elif member.c_type in self.types:
            one = "".join(self._codes(inner) for inner in self.types[member.c_type])
            if len({struct.calcsize(code) for code in one}) != 1:
                raise FirmwareError(f"constant {member.name}", "members of several sizes", got=member.c_type)
        else:
            expected = "a scalar, or a structure of scalars"
            raise FirmwareError(f"constant {member.name}", "unsupported type", expected=expected, got=member.c_type)
        return one * (member.count or 1)

    def _values(self, member: _Declared, text: str) -> list[Number]:
        """The scalars of a member, elements without an initialiser as zeros."""
        if member.count is not None:
            return self._elements(member, text)
        if member.c_type in SCALARS:
            text = _TO.sub(lambda to: str(self._offset(to[1]) - self._offset(to[2])), text)
            inside = text.strip().removeprefix("{").removesuffix("}")
            return [_value(member.name, inside)] if inside.strip() else [0]
        given = self._given(self.types[member.c_type], self._expanded(text), member.name)
        inner = self.types[member.c_type]
        return [value for each in inner for value in self._values(each, given.get(each.name, "{}"))]

    def _elements(self, member: _Declared, text: str) -> list[Number]:
        assert member.count is not None
        body = _braced(member.name, self._expanded(text))
        element = _Declared(member.name, member.c_type, None)
        if member.c_type in SCALARS and SCALARS[member.c_type] != "f" and "(" not in body and "{" not in body:
            values: list[Number] = [_value(member.name, item) for item in body.split(",") if item.strip()]
        else:
            items = [item for item in _split(body) if item.strip()]
            values = [value for item in items for value in self._values(element, item)]
        total = len(self._codes(member))
        if len(values) > total:
            raise FirmwareError(f"constant {member.name}", "too many elements", expected=total, got=len(values))
        return values + [0] * (total - len(values))

    def _given(self, members: tuple[_Declared, ...], text: str, where: str) -> dict[str, str]:
        """Initialisers of the members of a structure, by name."""
        given, names = {}, iter(members)
        for item in _split(_braced(where, text)):
            if not item.strip():
                continue
            designated = _DESIGNATED.fullmatch(item)
            name = designated[1] if designated else getattr(next(names, None), "name", "")
            if name not in {member.name for member in members}:
                raise FirmwareError(f"constant {where}", "initialiser without a member", got=item.strip()[:40])
            given[name] = designated[2] if designated else item
        return given

    def _offset(self, path: str) -> int:
        """Offset in bytes of a member such as ``layer_3.expand``."""
        c_type, offset = self.c_type, 0
        for name in path.split("."):
            for member in self.types[c_type]:
                if member.name == name:
                    c_type = member.c_type
                    break
                offset += struct.calcsize(f"<{self._codes(member)}")
            else:
                raise FirmwareError(f"constant {path}", "no such member", got=name)
        return offset

    def _expanded(self, text: str) -> str:
        """The text with function-like macros expanded."""
        pieces, at = [], 0
        for call in re.finditer(r"\b([A-Z]\w*)\(", text):
            if call.start() < at or call[1] == "TS_TO":
                continue
            if call[1] not in self.macros:
                raise FirmwareError("constants", "unknown macro", got=call[1])
            end = _closing(text, call.end())
            macro, arguments = self.macros[call[1]], [part.strip() for part in _split(text[call.end() : end])]
            body = _substituted(macro.body, dict(zip(macro.parameters, arguments, strict=True)))
            pieces += [text[at : call.start()], self._expanded(body)]
            at = end + 1
        return "".join([*pieces, text[at:]])


def _substituted(body: str, arguments: Mapping[str, str]) -> str:
    return re.sub(r"[A-Za-z_]\w*", lambda word: arguments.get(word[0], word[0]), body)


def _braced(name: str, text: str) -> str:
    """The text between the outer braces."""
    text = text.strip()
    if not text.startswith("{") or not text.endswith("}"):
        raise FirmwareError(f"constant {name}", "values in braces expected", got=text[:40])
    return text[1:-1]


def _closing(text: str, at: int) -> int:
    """Index of the parenthesis that closes the one before ``at``."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at - 1


def _split(text: str) -> Iterator[str]:
    """Split at the commas outside of parentheses and braces."""
    depth, begin = 0, 0
    for mark in re.finditer(r"[(){},]", text):
        if mark[0] == ",":
            if depth == 0:
                yield text[begin : mark.start()]
                begin = mark.end()
        else:
            depth += 1 if mark[0] in "({" else -1
    yield text[begin:]


def _value(name: str, text: str) -> Number:
    """A number, or the result of integer arithmetic; ``_wrapped`` applies the size of the type."""
    text = text.strip()
    if text.removeprefix("-").isdigit():
        return int(text)
    text = _CAST.sub("", text).strip()
    if (number := _FLOAT.fullmatch(text)) is not None:
        return float.fromhex(number[1] + number[2]) if "x" in number[2] else float(number[1] + number[2])
    text = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)u\b", r"\1", text)
    if not _INTEGERS.fullmatch(text):
        raise FirmwareError(f"constant {name}", "unsupported value", expected="integer arithmetic", got=text)
    return int(text) if text.lstrip("-").isdigit() else int(eval(text, {"__builtins__": {}}))


def _wrapped(code: str, value: Number) -> Number:
    """An integer reduced to the range of its type, as in C."""
    if code == "f":
        return float(value)
    bits = 8 * struct.calcsize(code)
    wrapped = int(value) % (1 << bits)
    return wrapped - (1 << bits) if code.islower() and wrapped >> (bits - 1) else wrapped
