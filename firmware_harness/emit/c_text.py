"""C text: literals, strings and comments."""

from __future__ import annotations

import numpy as np

LINE_COLUMNS = 116


def float_literal(value: float) -> str:
    """Exact hexadecimal float32 literal, such as 0x1.8p-3f."""
    mantissa, exponent = float(np.float32(value)).hex().split("p")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}{'.' + fraction if fraction else ''}p{exponent}f"


def comment(text: str) -> str:
    """A name with the characters that would end a C comment, or are not printable ASCII, replaced."""
    return (
        "".join(c if c.isprintable() and c.isascii() else "?" for c in text).replace("*/", "* /").replace("/*", "/ *")
    )


def string(text: str) -> str:
    """A C string literal; other characters than plain ASCII as octal UTF-8."""
    plain = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{plain}"'
