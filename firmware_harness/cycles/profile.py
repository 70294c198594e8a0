"""Counts of a run from its disassembly and from what an emulator saw at each address.

The order of neighbours is that of the code: an instruction runs right after the one before it as often as that one
runs, unless that one branches. Refuses addresses outside the listing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from tinyscene.runtime.arrays import F64, I64

from ..errors import FirmwareError
from .counts import Counts, field_names
from .disassembly import FLOAT, LOADS, MEMORY, MULTIPLE, STORES, Instruction

EVENTS = (  # of each address, in the order of run/plugin/executed.c
    "executed",
    "taken",
    "flash_loads",
    "flash_line_changes",
    "unaligned_loads",
    "art_code_misses",
    "art_data_misses",
    "icache_code_misses",
    "icache_data_misses",
    "icache_next_misses",
    "l1_16k_code_misses",
    "l1_16k_data_misses",
    "l1_4k_code_misses",
    "l1_4k_data_misses",
)
MEMORY_EVENTS = EVENTS[2:]


class Listing:
    """The instructions of an image, by address, and what one execution of each counts."""

    def __init__(self, listed: Sequence[Instruction]) -> None:
        self.listed = tuple(listed)
        self._addresses = [instruction.address for instruction in self.listed]

    def index(self, address: int) -> int:
        """Index of the instruction that contains an address.

        Raises:
            FirmwareError: there is none.
        """
        index = bisect_right(self._addresses, address) - 1
        if index < 0 or address >= self.listed[index].address + self.listed[index].n_bytes:
            raise FirmwareError(f"listing, address {address:#x}", "no instruction")
        return index

    def counts(self, events: I64) -> Counts:
        """Counts of one run; ``events``: int64 (instructions, :data:`EVENTS`)."""
        executed, taken = events[:, 0], events[:, 1]
        after = np.where(self._follows, np.concatenate([[0], executed[:-1]]), 0)  # runs right after the one before
        values = executed @ self._own + after @ self._pairs
        seen = dict(zip(field_names(), values.tolist(), strict=True))
        seen |= dict(zip(MEMORY_EVENTS, events[:, 2:].sum(axis=0).tolist(), strict=True))
        seen["unaligned_loads"] = float(events[self._is("load"), EVENTS.index("unaligned_loads")].sum())
        seen["taken_branches"] = float(taken[[each.leaves for each in self.listed]].sum())
        seen["calls"] = float(taken[[each.mnemonic == "bl" for each in self.listed]].sum())
        seen["loop_ends"] = float(taken[[each.mnemonic in ("le", "letp") for each in self.listed]].sum())
        seen["pairs"] = float(self._paired(executed, after))
        return Counts(**seen)

    def _is(self, kind: str) -> list[bool]:
        return [each.kind == kind for each in self.listed]

    @cached_property
    def _follows(self) -> list[bool]:
        """Whether each instruction can run right after the one before it in memory."""
        both = zip(self.listed, self.listed[1:], strict=False)
        return [False, *(b.address + b.n_bytes == i.address and not b.leaves for b, i in both)]

    @cached_property
    def _own(self) -> F64:
        """Counts of one execution of each instruction, (instructions, fields)."""
        return _matrix([own_counts(each) for each in self.listed])

    @cached_property
    def _pairs(self) -> F64:
        """Counts of one execution of each instruction right after the one before it."""
        both = zip(self.listed, self.listed[1:], strict=False)
        return _matrix([{}, *(pair_counts(before, each) for before, each in both)])

    @cached_property
    def _joins(self) -> list[bool]:
        both = zip(self.listed, self.listed[1:], strict=False)
        return [False, *(joins(before, each) for before, each in both)]

    def _paired(self, executed: I64, after: I64) -> int:
        """Pairs that are issued together, from the beginning of each block."""
        total, paired = 0, False
        for index in np.flatnonzero(executed).tolist():
            begins = after[index] != executed[index]  # a block begins here, or this is its first instruction
            paired = not begins and not paired and self._joins[index]
            total += int(executed[index]) if paired else 0
        return total


def _matrix(rows: Sequence[dict[str, int]]) -> F64:
    return np.array([[row.get(name, 0) for name in field_names()] for row in rows], np.float64)


def own_counts(instruction: Instruction) -> dict[str, int]:
    """Counts of one execution that depend on the instruction alone."""
    kind, n = instruction.kind, instruction.registers
    return {
        "instructions": 1,
        "single_loads": int(kind == "load" and "pc" not in instruction.writes),
        "load_multiples": int(kind == "load_multiple"),
        "load_multiple_registers": n * (kind == "load_multiple"),
        "double_loads": int(kind == "load_double"),
        "store_multiples": int(kind == "store_multiple"),
        "store_multiple_registers": n * (kind == "store_multiple"),
        "double_stores": int(kind == "store_double"),
        "single_stores": int(kind == "store"),
        "pops_to_pc": int(kind == "load_multiple" and "pc" in instruction.writes),
        "divisions": int(kind == "divide"),
        "float_divisions": int(kind == "float_divide"),
        "float_multiply_adds": int(kind == "float_multiply_add"),
        "float_instructions": int(kind in ("float", "float_divide", "float_multiply_add")),
        "multiply_adds": int(instruction.mnemonic in ("mla", "mls")),
        "long_multiplies": int(instruction.mnemonic in ("smull", "umull", "smlal", "umlal", "umaal")),
        "vector_instructions": int(kind == "vector"),
        "straddling": int(instruction.straddles),
    }


def pair_counts(before: Instruction, instruction: Instruction) -> dict[str, int]:
    """Counts of one execution right after ``before``."""
    loaded = before.kind == "load"
    return {
        "loads_after_load": int(loaded and instruction.kind == "load"),
        "load_uses": int(loaded and before.value in instruction.reads),
        "loads_after_store": int(before.kind in STORES and instruction.kind in LOADS),
        "vector_overlaps": int(
            before.kind == instruction.kind == "vector" and before.moves_vectors != instruction.moves_vectors
        ),
        "accumulations_in_a_row": int(
            before.kind == "multiply" and instruction.accumulator != "" and instruction.accumulator in before.writes
        ),
    }


def joins(before: Instruction, instruction: Instruction) -> bool:
    """Whether a simple dual-issue rule joins the two: independent, and not two of one unit."""
    both = (before.kind, instruction.kind)
    if before.kind in MULTIPLE or instruction.kind in MULTIPLE or "if_then" in both:
        return False
    two_of_one = any(
        before.kind in unit and instruction.kind in unit for unit in (MEMORY, FLOAT, ("multiply",), ("divide",))
    )
    changed = before.writes & (instruction.reads | instruction.writes)
    return not two_of_one and not changed
