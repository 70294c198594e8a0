"""Text from files in a form that is safe to show: one function, for every border where text leaves the program.

Labels, layer names, device names and file names come from elsewhere. Shown as they are, they could move the cursor of a
terminal, change its colours, forge a second line or reverse the direction of the text.
"""

from __future__ import annotations

import re

# C0 and C1 controls with ESC, DEL and NEL; line and paragraph separators; direction marks, embeddings and isolates;
# invisible characters; those that XML does not allow; surrogates, which stand for bytes of a name that is not UTF-8.
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff"
    r"\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Text of one line with control, direction and other invisible characters as ``\xNN`` or ``\uNNNN``.

    Visible characters of every script stay, and so do backslashes: escaping a second time changes nothing.
    """
    return text if text.isprintable() else _INVISIBLE.sub(_escape, text)


def short_name(name: str) -> str:
    """The first of the names that TFLite's converter joins with semicolons where it fuses operators."""
    return name.partition(";")[0] or name


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
