"""Memory systems: what a processor waits for when code and constants lie in flash.

A closed table. Each kind names the simulated misses that cost wait states; a kind without a validated model has a
range instead, see :class:`Memory`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .counts import Counts

MemoryKind = Literal["zero-wait", "art", "icache", "l1-16k", "l1-4k", "prefetch", "unvalidated"]


@dataclass(frozen=True)
class Misses:
    """Code and data lines that one run fetches from flash, in reads of the flash's own width."""

    code: Callable[[Counts], float]
    data: Callable[[Counts], float]
    what: str


MISSES: dict[MemoryKind, Misses] = {
    "zero-wait": Misses(lambda _: 0.0, lambda _: 0.0, "no wait states: code and constants in RAM, or a slow clock"),
    "art": Misses(
        lambda c: c.art_code_misses,
        lambda c: 2.0 * c.art_data_misses,  # a line of 32 bytes is two reads of 128 bits
        "STM32L4: cache of 1 KB for code and 256 B for data, flash of 128 bits",
    ),
    "icache": Misses(
        lambda c: c.icache_code_misses,
        lambda c: c.icache_data_misses,
        "STM32U5: cache of 8 KB for code and data, two ways, flash of 128 bits",
    ),
    "l1-16k": Misses(lambda c: c.l1_16k_code_misses, lambda c: c.l1_16k_data_misses, "16 KB each of code and data"),
    "l1-4k": Misses(lambda c: c.l1_4k_code_misses, lambda c: c.l1_4k_data_misses, "4 KB each of code and data"),
    "prefetch": Misses(lambda c: c.taken_branches, lambda c: c.flash_loads, "a prefetch buffer, and no cache of data"),
    "unvalidated": Misses(
        lambda c: c.art_code_misses,
        lambda c: 2.0 * c.art_data_misses,
        "a cache that no published row validates: between no wait states and the misses of 1 KB of code, 256 B of data",
    ),
}


@dataclass(frozen=True)
class Memory:
    """The memory system of a board at its clock."""

    kind: MemoryKind
    wait_states: int

    def code_misses(self, counts: Counts) -> float:
        """Reads of flash for code."""
        return MISSES[self.kind].code(counts)

    def data_misses(self, counts: Counts) -> float:
        """Reads of flash for data."""
        return MISSES[self.kind].data(counts)


ZERO_WAIT = Memory("zero-wait", 0)
