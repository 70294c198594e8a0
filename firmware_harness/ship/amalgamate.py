"""Amalgamation: many C files into one in which everything is static, so that two models in one image share no name.

Each header is inserted where it is first included, macros with known values are resolved, prototypes become static (and
with them the definitions that follow), and names that two files use at file scope get their file's name as a suffix.
Supports the C of this project: declarations that begin in the first column, one include per line. Refuses a local
header that is missing in ``headers``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..emit.constant_bytes import resolve
from ..errors import FirmwareError

_TOKEN = re.compile(
    r"(?P<skip>/\*.*?\*/|//[^\n]*|^[ \t]*\#(?:[^\n\\]|\\.|\\\n)*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)|(?P<mark>->|[^\s\w])",
    re.DOTALL | re.MULTILINE,
)
_NAME = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\])*'|\.?\d[\w.]*"
    r"|(?P<access>(?:\.|->)\s*)?(?P<name>[A-Za-z_]\w*)",
    re.DOTALL,
)
_STRUCTURE = re.compile(r"\bstruct\b[^{};]*\{([^{}]*)\}")
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
_INCLUDE = re.compile(r'^#\s*include "([^"]+)"[^\n]*\n', re.MULTILINE)
_PROTOTYPE = re.compile(r"^(?=[A-Za-z_])(?P<words>[\w ]+?[ *]+)(?P<name>\w+)\((?=[^;{]*\);)", re.MULTILINE)
_INLINE = re.compile(r"^static\s+inline\s+(?=[\w ]+[ *]\w+\()", re.MULTILINE)
_STATIC_MACRO = re.compile(r"^#define (\w+)(?:\([^)]*\))? [^\n]*\bstatic\b", re.MULTILINE)
_NOT_A_PROTOTYPE = {"static", "typedef", "extern", "return", "else"}
LOCAL_MACRO = "TS_LOCAL"


@dataclass(frozen=True)
class Source:
    """One C file by name, such as ``ts_conv2d.c``."""

    name: str
    text: str


def amalgamate(sources: Sequence[Source], headers: Mapping[str, str], known_macros: Mapping[str, bool]) -> str:
    """Join C files into one translation unit.

    Args:
        sources: the C files in the order of the result.
        headers: local headers by name; one that remains a file, such as the public header, maps to an empty text.
        known_macros: whether each of these macros is defined; their ``#ifdef`` lines are resolved and removed.

    Raises:
        FirmwareError: a local include that is not in ``headers``.
    """
    unchanged = {word for text in headers.values() for word in _STATIC_MACRO.findall(text)} | _NOT_A_PROTOTYPE
    unchanged |= {name for source in sources for name in _assembly_names(source.text)}
    resolved_headers = {name: _localised(resolve(text, known_macros), unchanged) for name, text in headers.items()}
    resolved = [Source(source.name, resolve(source.text, known_macros)) for source in sources]
    counts = Counter(name for source in resolved for name in set(file_scope_names(source.text)))
    duplicates = {name for name, count in counts.items() if count > 1}
    included: set[str] = set()
    pieces = []
    for source in resolved:
        text = _renamed(source.text, duplicates & set(file_scope_names(source.text)), _stem(source.name))
        undefined = [f"#undef {name}\n" for name in dict.fromkeys(re.findall(r"^#define (\w+)", text, re.MULTILINE))]
        inlined = _inlined(text, resolved_headers, included)
        pieces.append(f"\n/* ---- {source.name} ---- */\n{inlined}{''.join(undefined)}")
    return "".join(pieces)


def _assembly_names(text: str) -> set[str]:
    """Names in strings, that is in assembly, which C's ``static`` does not apply to."""
    return {name for string in _STRING.findall(_INCLUDE.sub("", text)) for name in re.findall(r"\bts_\w+", string)}


def file_scope_names(text: str) -> Iterator[str]:
    """Functions, variables, types and enumeration constants without the prefix ``ts`` that a file declares."""
    depth, brackets, in_enum, before = 0, 0, False, ""
    tokens = [(match.lastgroup, match[0]) for match in _TOKEN.finditer(text) if match.lastgroup != "skip"]
    for index, (kind, token) in enumerate(tokens):
        follows = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        if kind == "name" and not token.lower().startswith("ts"):
            of_a_type = follows in ("(", "[", "=", ";") and before not in ("", ";", "}")
            of_a_structure = follows in ("[", "=", ";") and before == "}"
            declared = depth == 0 and brackets == 0 and (of_a_type or of_a_structure)
            constant = in_enum and depth == 1 and before in ("{", ",")
            if (declared or constant) and not token.startswith("__"):
                yield token
        if token == "{":
            in_enum = depth == 0 and (before == "enum" or tokens[max(index - 2, 0)][1] == "enum")
        depth += {"{": 1, "}": -1}.get(token, 0)
        brackets += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token, 0)
        before = token


def _localised(header: str, unchanged: set[str]) -> str:
    """The header with its function declarations made static; a later definition is then static too.

    Its inline functions may be unused, which compilers report in a file but not in a header.
    """

    def local(prototype: re.Match[str]) -> str:
        words = {*prototype["words"].split(), prototype["name"]}
        return prototype[0] if words & unchanged else f"{LOCAL_MACRO} {prototype[0]}"

    return _INLINE.sub(f"{LOCAL_MACRO} inline ", _PROTOTYPE.sub(local, header))


def _renamed(text: str, names: set[str], stem: str) -> str:
    """Rename every use of ``names``; of members with such a name only those of the file's own structures."""
    own_members = {word for body in _STRUCTURE.findall(text) for word in re.findall(r"\w+", body)}

    def rename(use: re.Match[str]) -> str:
        access, name = use["access"] or "", use["name"]
        if name not in names or (access and name not in own_members):
            return use[0]
        return f"{access}{name}_in_{stem}"

    return _NAME.sub(rename, text)


def _stem(name: str) -> str:
    return name.removesuffix(".c").removeprefix("ts_")


def _inlined(text: str, headers: Mapping[str, str], included: set[str]) -> str:
    """The text with local headers in place of their includes, each once."""

    def inline(include: re.Match[str]) -> str:
        name = include[1]
        if name in included:
            return ""
        if name not in headers:
            raise FirmwareError(f"header {name}", "included, but missing among the headers")
        included.add(name)
        return _inlined(headers[name], headers, included)

    return _INCLUDE.sub(inline, text)
