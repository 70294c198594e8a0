"""Text files with words in the form ``@{name}``, which values replace. Refuses a word without a value."""

from __future__ import annotations

import string
from collections.abc import Mapping


class _Template(string.Template):
    delimiter = "@"


def substituted(text: str, words: Mapping[str, str]) -> str:
    """The text with the values of its words; raises KeyError for a word without one."""
    return _Template(text).substitute(words)
