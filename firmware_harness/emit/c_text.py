"""C text: the only way from values to emitted C. Every word, number, string and comment passes one of these functions.

Each has a whitelist of its own, whatever a reader checked before: an identifier is an identifier, a number is a number,
and a name from outside can neither end a comment or a string nor become code. Refuses everything else.
"""

from __future__ import annotations

import math
import re

import numpy as np

from ..errors import FirmwareError

LINE_COLUMNS = 116
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[a-z][a-z0-9_]*\.h")
_PLAIN = re.compile(r"[^A-Za-z0-9 _.,;+=()-]")


def identifier(name: str) -> str:
    """A C identifier, unchanged; raises FirmwareError for other text."""
    return _matching(_IDENTIFIER, name, "a C identifier")


def header_name(name: str) -> str:
    """A file name for ``#include``, unchanged; raises FirmwareError for other text."""
    return _matching(_HEADER, name, "the name of a header")


def integer(value: int) -> str:
    """A decimal integer literal of at most 64 bits; raises FirmwareError for what is no integer."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise FirmwareError("emitted C", "not an integer", got=repr(value)[:80])
    return str(value)


def float_literal(value: float) -> str:
    """Exact hexadecimal float32 literal, such as 0x1.8p-3f; raises FirmwareError for what float32 cannot hold."""
    number = float(value)
    if not math.isfinite(number) or abs(number) > _LARGEST_FLOAT32:
        raise FirmwareError("emitted C", "not a float32 number", got=number)
    mantissa, exponent = float(np.float32(number)).hex().split("p")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}{'.' + fraction if fraction else ''}p{exponent}f"


def comment(text: str) -> str:
    """A name inside a C comment: printable ASCII that neither ends the comment nor is part of an escape sequence."""
    plain = "".join(c if " " <= c <= "~" and c not in "\\?" else "_" for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")


def plain(text: str) -> str:
    """A name of letters, digits and ``_.,;+=()-``, valid in comments, strings, Markdown and lines of a protocol."""
    return _PLAIN.sub("_", text)


def string(text: str) -> str:
    """A C string literal; other characters than plain ASCII as octal UTF-8. Raises FirmwareError for U+0000."""
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise FirmwareError("emitted C", "text that a C string cannot hold", got=ascii(text)[:80])
    literal = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{literal}"'


def _matching(pattern: re.Pattern[str], text: str, expected: str) -> str:
    if not pattern.fullmatch(text):
        raise FirmwareError("emitted C", "invalid word", expected=expected, got=repr(text)[:80])
    return text
