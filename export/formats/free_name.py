"""Unique names: names in a file are arbitrary, and readers add tensors and nodes of their own."""

from __future__ import annotations

from collections.abc import Set


def free_name(name: str, taken: Set[str]) -> str:
    """The name, with a number behind it if it is taken."""
    free, number = name, 1
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
