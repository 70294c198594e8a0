"""Cost models of CPU families: cycles are a sum of terms, each an amount times cycles.

A term's cycles come from the processor's manual, from the memory system's wait states, or, where no document has
them, from a fit to published rows; those are ``None`` in the table, and few. Refuses a family without a model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..errors import FirmwareError
from .counts import Counts
from .memory import Memory

FamilyName = Literal["M0+", "M3", "M4", "M7", "M33", "M55"]
Kind = Literal["core", "code", "data"]  # the processor itself, waiting for code, waiting for constants

M0PLUS_MANUAL = "Cortex-M0+ TRM (ARM DDI 0484), table 3-1"
M3_MANUAL = "Cortex-M3 TRM (ARM DDI 0337), chapter 18"
M4_MANUAL = "Cortex-M4 TRM (ARM DDI 0439), section 3.3"
HELIUM = "Introduction to the Armv8.1-M Helium technology (Arm 102102)"
LINE_FILL = "wait states of the board, and two cycles to fill the line"
M4_FLOAT_MANUAL = "Cortex-M4 TRM (ARM DDI 0439), section 7.2.3"


@dataclass(frozen=True)
class Term:
    """``amount`` of a run, ``each`` in cycles (None: fitted), and where the number comes from."""

    name: str
    amount: Callable[[Counts, Memory], float]
    each: float | None
    source: str
    kind: Kind = "core"


@dataclass(frozen=True)
class Family:
    """A CPU family; ``assumed_error``: relative, where no published row validates the model; None where rows do."""

    name: FamilyName
    terms: tuple[Term, ...]
    assumed_error: float | None = None

    @property
    def validated(self) -> bool:
        """Whether published rows measure the error of the model."""
        return self.assumed_error is None

    @property
    def fitted(self) -> tuple[Term, ...]:
        """The terms whose cycles come from published rows."""
        return tuple(term for term in self.terms if term.each is None)


def _isolated_loads(c: Counts, _: Memory) -> float:
    return c.single_loads - c.loads_after_load


def _registers(c: Counts, _: Memory) -> float:
    """Registers of load and store multiples and doubles."""
    doubles = 2 * (c.double_loads + c.double_stores)
    return c.load_multiple_registers + c.store_multiple_registers + doubles


def _further_registers(c: Counts, memory: Memory) -> float:
    """Registers of multiples and doubles after the first of each."""
    multiples = c.load_multiples + c.store_multiples + c.double_loads + c.double_stores
    return _registers(c, memory) - multiples


def _line_hits(c: Counts, memory: Memory) -> float:
    """Flash data loads from another line than the last one that is in the cache; none without wait states."""
    return max(c.flash_line_changes - memory.data_misses(c), 0.0) if memory.wait_states else 0.0


CODE_WAIT = Term("code missed", lambda c, m: m.wait_states * m.code_misses(c), 1, "wait states of the board", "code")
DATA_WAIT = Term(
    "constants missed", lambda c, m: m.wait_states * m.data_misses(c), 1, "wait states of the board", "data"
)
LINE_HITS = Term("constants, another line", _line_hits, 1, "one cycle to change the line in use", "data")
INSTRUCTIONS = Term("instructions", lambda c, _: c.instructions, 1, "one cycle each")
UNALIGNED = Term("unaligned loads", lambda c, _: c.unaligned_loads, 1, "two accesses instead of one")
TAKEN_TWICE = Term("taken branches", lambda c, _: c.taken_branches, 2, f"{M4_MANUAL}: pipeline refill of 1 to 3")
DIVISIONS = Term("divisions", lambda c, _: c.divisions, 5, f"{M4_MANUAL}: 2 to 12 in all")
MULTIPLES = Term("registers of multiples", _registers, 1, f"{M4_MANUAL}: 1 + N")
LOADS = Term("loads that are not pipelined", _isolated_loads, 1, f"{M4_MANUAL}: 2, or 1 right after another")
FLASH = (CODE_WAIT, DATA_WAIT, LINE_HITS)

M4 = Family(
    "M4",
    (
        *(INSTRUCTIONS, LOADS, MULTIPLES, TAKEN_TWICE, DIVISIONS, UNALIGNED),
        Term("float divisions", lambda c, _: c.float_divisions, 13, f"{M4_FLOAT_MANUAL}: 14 in all"),
        Term("float multiply-adds", lambda c, _: c.float_multiply_adds, 2, f"{M4_FLOAT_MANUAL}: 3 in all"),
        Term(
            "straddling instructions",
            lambda c, _: c.straddling,
            None,
            "three 32-bit instructions in a row at 2 modulo 4 cost a cycle: compendium.i-0.nl, instruction alignment",
        ),
        Term("accumulations in a row", lambda c, _: c.accumulations_in_a_row, None, "not documented"),
        *FLASH,
    ),
)

M3 = Family(
    "M3",
    (
        *(INSTRUCTIONS, LOADS, MULTIPLES, TAKEN_TWICE, DIVISIONS, UNALIGNED),
        Term("multiply-adds", lambda c, _: c.multiply_adds, 1, f"{M3_MANUAL}: 2"),
        Term("long multiplications", lambda c, _: c.long_multiplies, 3, f"{M3_MANUAL}: 3 to 7"),
        *FLASH,
    ),
    assumed_error=0.25,
)

M33 = Family(
    "M33",
    (
        INSTRUCTIONS,
        Term("loaded values used at once", lambda c, _: c.load_uses, 1, "one cycle from load to use"),
        Term("further registers of multiples", _further_registers, 1, "one register a cycle"),
        *(TAKEN_TWICE, DIVISIONS, UNALIGNED),
        Term("float divisions", lambda c, _: c.float_divisions, 13, "as Cortex-M4"),
        Term("float multiply-adds", lambda c, _: c.float_multiply_adds, 2, "as Cortex-M4"),
        *FLASH,
    ),
)


def _further_register_pairs(c: Counts, memory: Memory) -> float:
    """Cycles of multiples after the first of each, where two registers move at a time."""
    return max(_further_registers(c, memory) - _registers(c, memory) / 2, 0.0)


def _missed_lines(c: Counts, memory: Memory) -> float:
    """Missed data lines of 32 bytes; one that follows the last missed line costs half, as its read has begun."""
    missed = memory.data_misses(c)
    return missed - 0.5 * min(c.icache_next_misses / 2, missed)


M7 = Family(
    "M7",
    (
        INSTRUCTIONS,
        Term("instructions issued in pairs", lambda c, _: -c.pairs, None, "share of the possible pairs"),
        Term("further registers of multiples", _further_register_pairs, 1, "64 bits a cycle"),
        Term("loads after a store", lambda c, _: c.loads_after_store, None, "not documented"),
        Term("float divisions", lambda c, _: c.float_divisions, 13, "as Cortex-M4"),
        Term("code missed", lambda c, m: (m.wait_states + 2) * m.code_misses(c), 1, LINE_FILL, "code"),
        Term("constants missed", lambda c, m: (m.wait_states + 2) * _missed_lines(c, m), 1, LINE_FILL, "data"),
    ),
)

M55 = Family(
    "M55",
    (
        INSTRUCTIONS,
        Term("vectors", lambda c, _: c.vector_instructions, 1, f"{HELIUM}: 128 bits in two beats of 64"),
        Term("overlapping vectors", lambda c, _: -c.vector_overlaps, 1, f"{HELIUM}: beats of a load and of arithmetic"),
        Term("loaded values used at once", lambda c, _: c.load_uses, 1, "one cycle from load to use"),
        Term("further registers of multiples", _further_register_pairs, 1, "64 bits a cycle"),
        Term("taken branches", lambda c, _: c.taken_branches - c.loop_ends, 2, "as Cortex-M4; ends of loops are free"),
        DIVISIONS,
        *FLASH,
    ),
    assumed_error=0.4,
)

M0PLUS = Family(
    "M0+",
    (
        INSTRUCTIONS,
        Term("loads and stores", lambda c, _: c.single_loads + c.single_stores, 1, f"{M0PLUS_MANUAL}: 2"),
        Term("registers of multiples", _registers, 1, f"{M0PLUS_MANUAL}: 1 + N"),
        Term("taken branches", lambda c, _: c.taken_branches, 1, f"{M0PLUS_MANUAL}: 2"),
        Term("calls", lambda c, _: c.calls, 1, f"{M0PLUS_MANUAL}: 3"),
        Term("returns by POP", lambda c, _: c.pops_to_pc, 1, f"{M0PLUS_MANUAL}: 3 + N"),
        CODE_WAIT,
        DATA_WAIT,
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in (M0PLUS, M3, M4, M7, M33, M55)}


def family_named(name: str) -> Family:
    """The model of a CPU family.

    Raises:
        FirmwareError: there is none.
    """
    if name not in FAMILIES:
        step = "use instructions, or choose a core with a model"
        raise FirmwareError(f"cycles of {name}", "no cost model", expected=" or ".join(FAMILIES), next_step=step)
    return FAMILIES[name]
