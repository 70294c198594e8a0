"""Many C files into one, in which everything is static: two models in one image share no name, and none leaks.

Headers are put in where they are first included, the macros that are settled are resolved, prototypes become static
(definitions after them then are too), and names that two files both use at file scope get their file's name.
Knows the C of this project: GNU style declarations that begin in the first column, one include per line. Refuses a
local header that it was not given.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
_STATIC_MACRO = re.compile(r"^#define (\w+)(?:\([^)]*\))? [^\n]*\bstatic\b", re.MULTILINE)
_NOT_A_PROTOTYPE = {"static", "typedef", "extern", "return", "else"}
LOCAL_MACRO = "TS_LOCAL"


@dataclass(frozen=True)
class Source:
    """One C file by name, such as ``ts_conv2d.c``."""

    name: str
    text: str


def amalgamate(sources: Sequence[Source], headers: Mapping[str, str], settled: Mapping[str, bool]) -> str:
    """One translation unit.

    Args:
        sources: the C files in the order in which they shall stand.
        headers: local headers by name; one that stands elsewhere, such as a public one, maps to nothing.
        settled: macros known to be defined or not; ``#ifdef`` of these is resolved and leaves no trace.

    Raises:
        FirmwareError: a local include that is not in ``headers``.
    """
    untouched = {word for text in headers.values() for word in _STATIC_MACRO.findall(text)} | _NOT_A_PROTOTYPE
    untouched |= {name for source in sources for name in _assembly_names(source.text)}
    resolved_headers = {name: _localised(resolve(text, settled), untouched) for name, text in headers.items()}
    resolved = [Source(source.name, resolve(source.text, settled)) for source in sources]
    shared = Counter(name for source in resolved for name in set(file_scope_names(source.text)))
    twice = {name for name, count in shared.items() if count > 1}
    seen: set[str] = set()
    pieces = []
    for source in resolved:
        text = _renamed(source.text, twice & set(file_scope_names(source.text)), _stem(source.name))
        undefined = [f"#undef {name}\n" for name in dict.fromkeys(re.findall(r"^#define (\w+)", text, re.MULTILINE))]
        pieces.append(f"\n/* ---- {source.name} ---- */\n{_inlined(text, resolved_headers, seen)}{''.join(undefined)}")
    return "".join(pieces)


def resolve(text: str, settled: Mapping[str, bool]) -> str:
    """Drop what ``#ifdef`` and ``#ifndef`` of settled macros exclude, and these lines themselves."""
    kept, open_blocks = [], []  # for each open #if: None if it stays, or whether its present branch is taken
    for line in text.splitlines(keepends=True):
        words = line.split()
        directive = words[0] if words else ""
        if directive in ("#if", "#ifdef", "#ifndef"):
            known = directive != "#if" and words[1] in settled
            open_blocks.append((settled[words[1]] == (directive == "#ifdef")) if known else None)
            if known:
                continue
        elif directive in ("#else", "#elif") and open_blocks and open_blocks[-1] is not None:
            open_blocks[-1] = not open_blocks[-1]
            continue
        elif directive == "#endif" and open_blocks.pop() is not None:
            continue
        if all(taken is not False for taken in open_blocks):
            kept.append(line)
    return "".join(kept)


def _assembly_names(text: str) -> set[str]:
    """What assembly defines or uses by name, which C's ``static`` does not reach: names inside of strings."""
    return {name for string in _STRING.findall(_INCLUDE.sub("", text)) for name in re.findall(r"\bts_\w+", string)}


def file_scope_names(text: str) -> Iterator[str]:
    """Functions, variables, types and enumeration constants that a file declares for itself, without a prefix."""
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


def _localised(header: str, untouched: set[str]) -> str:
    """A function that a header declares is local to the one file; its definition need not say so again."""

    def local(found: re.Match[str]) -> str:
        return found[0] if {*found["words"].split(), found["name"]} & untouched else f"{LOCAL_MACRO} {found[0]}"

    return _PROTOTYPE.sub(local, header)


def _renamed(text: str, names: set[str], stem: str) -> str:
    """Every use of the names, but not members that are called the same, unless the file's own structures have them."""
    own_members = {word for body in _STRUCTURE.findall(text) for word in re.findall(r"\w+", body)}

    def rename(found: re.Match[str]) -> str:
        access, name = found["access"] or "", found["name"]
        if name not in names or (access and name not in own_members):
            return found[0]
        return f"{access}{name}_in_{stem}"

    return _NAME.sub(rename, text)


def _stem(name: str) -> str:
    return name.removesuffix(".c").removeprefix("ts_")


def _inlined(text: str, headers: Mapping[str, str], seen: set[str]) -> str:
    def put_in(found: re.Match[str]) -> str:
        name = found[1]
        if name in seen:
            return ""
        if name not in headers:
            raise FirmwareError(f"header {name}", "is included but not among the sources")
        seen.add(name)
        return _inlined(headers[name], headers, seen)

    return _INCLUDE.sub(put_in, text)
